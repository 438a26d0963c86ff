# Make a node's member the only one of the store. POSIX sh; provision/node/changes.sh, facts.sh and changes.sh of this plane
# come before it. Each function can be called again after it was killed anywhere.
# shellcheck disable=SC2015 # `a && b || c`: c if any of them fails

stored=${OVERLAY_STORED:-/var/lib/etcd} # the variable is for tests
by_hand=overlay-recovery.service # etcd as it is forced: a transient unit, so that systemd ends it

# end_etcd UNIT: end a unit of etcd at once. A graceful stop waits seven seconds for a quorum, and a kill alone may race with
# systemd's restart.
end_etcd() {
    systemctl stop --no-block "$1" 2>/dev/null || true
    systemctl kill -s KILL "$1" 2>/dev/null || true
    deadline=$(($(date +%s) + 30))
    while is_there "$1"; do
        [ "$(date +%s)" -lt "$deadline" ] || die "$1 does not end"
        sleep 0.02
    done
    systemctl reset-failed "$1" 2>/dev/null || true
}

# is_there UNIT: succeed if the unit runs, or is about to start or to end.
is_there() {
    case $(systemctl is-active "$1" 2>/dev/null) in active | activating | deactivating | reloading) ;; *) return 1 ;; esac
}

# put_member_aside NAME: end the node's member, move its data to a folder NAME where etcd does not look, and remove what it
# would begin anew with.
put_member_aside() {
    end_etcd etcd.service
    systemctl disable -q etcd.service 2>/dev/null || true
    move_data "$1"
    rm -f /etc/etcd/bootstrap.env
    sync_path /etc/etcd
}

# force_member NAME: copy the data to a folder NAME beside them, unless that was done, and make this member the only one.
force_member() {
    copy=$stored/$1
    [ -e "$copy" ] || has_room
    end_etcd "$by_hand"
    end_etcd etcd.service
    [ -e "$copy" ] || copy_data "$copy"
    # shellcheck disable=SC2016 # sh of the unit expands nothing
    systemd-run -q --unit="$by_hand" --collect -p User=etcd -p Group=etcd -p UMask=0077 -p LimitNOFILE=65536 \
        /usr/bin/env -i /bin/sh -c 'set -a && . /etc/etcd/bootstrap.env && . /etc/etcd/etcd.env &&
        ETCD_FORCE_NEW_CLUSTER=true && exec /usr/local/bin/etcd' || die "systemd does not start etcd"
    await_write "$by_hand"
    end_etcd "$by_hand"
    systemctl start etcd.service || die "cannot start etcd.service"
    await_write etcd.service
}

# has_room: give up while nothing is changed unless etcd's data can be copied.
has_room() {
    needed=$(du -sk "$stored/data" | cut -f 1)
    free=$(df -Pk "$stored" | awk 'NR == 2 { print $4 }')
    [ "$free" -gt "$((needed + 65536))" ] ||
        die "no room for a copy of etcd's data: $needed kB and 64 MB are needed, $free kB are free in $stored"
}

# copy_data FOLDER: copy etcd's data, completely or not at all.
copy_data() {
    rm -rf "$1.new"
    cp -a "$stored/data" "$1.new" && sync -f "$1.new" &&
        mv -T "$1.new" "$1" || give_up "$1.new" "cannot copy etcd's data to $1"
    sync_path "$stored"
}

# await_write UNIT: wait until the node's own member acknowledges a write.
await_write() {
    deadline=$(($(date +%s) + 60))
    until own_keys set /overlay-provision/recovery "$(date +%s)" >/dev/null 2>&1; do
        if [ "$(date +%s)" -gt "$deadline" ]; then
            printf 'etcd acknowledges no write within a minute. The journal of %s ends:\n' "$1" >&2
            last_words "$1" >&2
            exit 1
        fi
        sleep 0.05
    done
    own_keys rm /overlay-provision/recovery >/dev/null 2>&1 || true
}
