# Functions that change a node's member of the store. POSIX sh; provision/node/changes.sh comes before it.
# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails

# put_release ARCHIVE FOLDER SHA256_ETCD SHA256_ETCDCTL VERSION TOP: unpack a release, run it once, and rename its folder.
# The archive was checked when it arrived, and contains checksums of its own.
put_release() {
    fresh=$2.overlay-provision
    rm -rf "$fresh"
    mkdir -p "$fresh" && tar -xzf "$1" -C "$fresh" "$6/etcd" "$6/etcdctl" && mv "$fresh/$6/etcd" "$fresh/$6/etcdctl" "$fresh" &&
        rm -rf "${fresh:?}/${6#./}" || give_up "$fresh" "cannot unpack $1"
    chown -R root:root "$fresh" && chmod 00755 "$fresh" "$fresh/etcd" "$fresh/etcdctl"
    "$fresh/etcd" --version | grep -q "^etcd Version: $5\$" || give_up "$fresh" "the etcd pushed does not run here as version $5"
    sync_path "$fresh/etcd"
    sync_path "$fresh/etcdctl"
    rm -rf "$2"
    mv -T "$fresh" "$2" || give_up "$fresh" "cannot put $2 in place"
    sync_path "$(dirname "$2")"
    stamp "$2/etcd" "$3"
    stamp "$2/etcdctl" "$4"
    rm -f "$1"
}

# await_joined SECONDS: wait until this node's dockerd is on the store; see docker_store.sh.
await_joined() {
    deadline=$(($(date +%s) + $1))
    until [ -e /run/overlay-provision/docker.joined ]; do
        if [ "$(date +%s)" -gt "$deadline" ]; then
            printf 'no quorum answered it, or no reload was taken, within %s s. The journal of docker.service ends:\n' "$1" >&2
            journal_end docker.service overlay-join.service
            exit 1
        fi
        sleep 0.05
    done
}

# set_data_aside: move the data of a removed member to where etcd does not look for it.
set_data_aside() {
    move_data "removed-$(date -u +%Y%m%dT%H%M%SZ)"
}

# move_data NAME: move etcd's data to a folder NAME beside them. Both places are on one file system, so that the move is atomic.
move_data() {
    stop_unit etcd.service
    [ ! -e /var/lib/etcd/data ] || mv -T /var/lib/etcd/data "/var/lib/etcd/$1" || die "cannot move /var/lib/etcd/data aside"
    sync_path /var/lib/etcd
}

# set_store_aside MARK IDENTITY: move the data of a store that is to be made anew aside, and let dockerd be restarted, as if
# it had read another list of members. The mark says that this was done for the restore of this identity.
set_store_aside() {
    set_data_aside
    rm -f /etc/etcd/bootstrap.env || die "cannot remove /etc/etcd/bootstrap.env"
    [ ! -d /etc/etcd ] || sync_path /etc/etcd
    inputs=/run/overlay-provision/docker.service.inputs
    [ ! -f "$inputs" ] || sed -i '\|/store\.env$|d' "$inputs" || die "cannot write $inputs"
    (umask 077 && printf '%s\n' "$2" >"$1.new") && sync_path "$1.new" && mv -f "$1.new" "$1" || die "cannot write $1"
    sync_path "$(dirname "$1")"
}
