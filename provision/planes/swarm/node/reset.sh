# This control plane's part of a reset. POSIX sh; record.sh comes before it.

# leave_network: stop our service beside dockerd, and leave the swarm.
leave_network() {
    systemctl disable -q --now overlay-mend.service 2>/dev/null
    systemctl -q is-active docker.service || return 0
    [ "$(docker info --format '{{.Swarm.LocalNodeState}}')" != inactive ] || return 0
    timeout 60 docker swarm leave --force >/dev/null || die "Docker does not leave the swarm"
    # A dockerd that leaves while others do may keep its gossip's port; in another swarm it would hear nobody.
    for _ in 1 2 3 4 5; do
        ss -H -lnt 'sport = :7946' | grep -q . || return 0
        sleep 1
    done
    timeout 120 systemctl restart docker.service || die "docker.service does not start after it has left the swarm"
}

# end_membership: do nothing: who has left the swarm is no member.
end_membership() {
    true
}
