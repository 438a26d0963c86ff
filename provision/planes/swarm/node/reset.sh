# This control plane's part of a reset. POSIX sh; record.sh comes before it.

# leave_network: stop our service beside dockerd, and leave the swarm. dockerd is restarted afterwards (put_back_docker):
# one that leaves while others do may keep its gossip's port, and in another swarm it would hear nobody.
leave_network() {
    systemctl disable -q --now overlay-mend.service 2>/dev/null
    docker_answers || { forget_swarm; return 0; }
    # An attempt may fail while other managers leave (`context deadline exceeded`).
    for _ in 1 2 3; do
        [ "$(timeout 20 docker info --format '{{.Swarm.LocalNodeState}}')" != inactive ] || return 0
        ! timeout 60 docker swarm leave --force >/dev/null 2>/run/overlay-provision.leave || return 0
        sleep 1
    done
    die "Docker does not leave the swarm: $(cat /run/overlay-provision.leave)"
}

# forget_swarm: remove what a dockerd keeps of the swarm, as `docker swarm leave` does. One that does not answer may run.
forget_swarm() {
    docker_root=$(configured_docker_root) || die "cannot read Docker's configuration, which says where its swarm is"
    stop_dockerd
    require_stopped docker.service
    rm -rf "$docker_root/swarm"
}

# end_membership: remove what is left of swarms that this host was removed from: see mend_removed.sh. Who has left is no member.
end_membership() {
    docker_root=$(configured_docker_root) || die "cannot read Docker's configuration, which says where its swarm is"
    rm -rf "$docker_root"/swarm.left.* "$docker_root"/swarm.copied.*
}
