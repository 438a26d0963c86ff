# This control plane's part of a reset. POSIX sh; record.sh comes before it.

# leave_network: stop our services beside dockerd, and restore the name of any container whose name was set aside.
leave_network() {
    systemctl stop overlay-join.service 2>/dev/null
    systemctl disable -q --now overlay-mend.service 2>/dev/null
    ! docker_answers || [ ! -x /usr/local/lib/overlay-provision/mend ] || timeout 60 /usr/local/lib/overlay-provision/mend names >/dev/null 2>&1
}

# put_store_away: remove the node's member; the node continues without one. etcd's user is removed too. etcd's programs
# stay, because docker-store calls etcdctl.
put_store_away() {
    keep_what_is_aside
    end_membership
    put_back '/etc/etcd|/etc/systemd/system/etcd\.service|/var/lib/etcd|etcd$'
    systemctl daemon-reload
}

# keep_what_is_aside: keep what was put aside when a member was given up, and copied by a recovery.
keep_what_is_aside() {
    stored=${OVERLAY_STORED:-/var/lib/etcd} # the variable is for tests
    for kept in "$stored"/removed-* "$stored"/before-recovery-*; do
        [ ! -e "$kept" ] || { (umask 077 && mkdir -p "$state/former-stores") && mv "$kept" "$state/former-stores/"; } ||
            die "cannot move $kept to $state/former-stores"
    done
}

# end_membership: stop etcd and delete its data.
end_membership() {
    recorded unit etcd.service >/dev/null || return 0
    stop_unit etcd.service
    systemctl disable -q etcd.service 2>/dev/null
    rm -rf /var/lib/etcd/data
    systemctl reset-failed etcd.service 2>/dev/null
    true
}

# retire_docker: restore what dockerd reads, for another control plane to come. The folders /etc/docker and
# docker.service.d stay: they may hold files of their user by now.
retire_docker() {
    read_by_docker='/etc/docker/overlay|/etc/systemd/system/docker.service.d/50-overlay.conf|/usr/local/lib/overlay-provision'
    read_by_docker="$read_by_docker|(/etc/systemd/system/)?overlay-(join|mend).service"
    put_back "$read_by_docker"
    forget "$read_by_docker"
    sed -n "s/^hold${tab}package \([^$tab]*\)$tab.*/\1/p" "$state/record" 2>/dev/null | while read -r package; do
        release_package "$package" || exit 1 # it was held because this control plane needs this Docker
    done || exit 1
    forget 'package ' hold
}

# retire_rest: restore everything else of this control plane: its member, its programs and its user.
retire_rest() {
    systemctl kill -s KILL etcd.service 2>/dev/null # its data goes; a graceful stop may take seven seconds
    end_membership
    of_store='/etc/etcd|(/etc/systemd/system/)?etcd.service|/var/lib/etcd|/usr/local/(lib|bin)/etcd|etcd$'
    of_store="$of_store|/etc/(passwd|shadow|group|gshadow|subuid|subgid)-"
    put_back "$of_store"
    forget "$of_store"
}
