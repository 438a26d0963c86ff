# Everything as it was, last change first. POSIX sh. The control plane's own reset.sh comes after it, with leave_network and
# end_membership.

# drop_keepers: ours only, by their label.
drop_keepers() {
    timeout 60 docker ps -aq -f label=overlay-keeper | xargs -r timeout 60 docker rm -f >/dev/null 2>&1 || true
}

# put_back_docker: the vendor's dockerd again, running if it ran; our networks and image gone with the store.
put_back_docker() {
    leave_network
    put_back '/etc/docker|/etc/systemd/system/docker.service.d|/etc/systemd/system/overlay-(join|mend).service'
    was=$(recorded unit docker.service) || return 0
    systemctl daemon-reload
    systemctl reset-failed docker.service 2>/dev/null
    rm -f /run/overlay-provision/docker.* /run/overlay-provision/mend.* /run/overlay-provision/daemon.json
    case $was in
    *' active') timeout 120 systemctl restart docker.service || die "docker.service does not start as it was before" ;;
    *) systemctl stop docker.service docker.socket ;;
    esac
    case $was in enabled*) ;; *) systemctl disable -q docker.service ;; esac
    sed -n "s/^network$tab\([^$tab]*\)$tab.*/\1/p" "$state/record" | while read -r network; do
        ! timeout 10 docker network inspect "$network" >/dev/null 2>&1 || docker network rm "$network" >/dev/null ||
            die "cannot remove the network $network"
    done
    sed -n "s/^image$tab\([^$tab]*\)$tab.*/\1/p" "$state/record" | while read -r image; do
        ! timeout 10 docker image inspect "$image" >/dev/null 2>&1 || docker image rm "$image" >/dev/null 2>&1 ||
            printf 'the image %s stays: something uses it\n' "$image" >&2
    done
}

# put_back_rest: the membership ended, every other path as it was, the record last.
put_back_rest() {
    end_membership
    drop_firewall
    put_back '.*'
    systemctl daemon-reload
    rm -f /run/overlay-provision/*.inputs
    rm -rf "$state"
}
