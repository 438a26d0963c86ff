# A host that leaves its swarm: what its containers should have, and the swarm's data, are kept. POSIX sh; containers.sh comes
# before it.
gossip_port=7946
networks_record=$containers_record.networks # the swarm's networks, as Docker's API tells them

# hold_containers: bring the records of containers and of their networks up to date, and hold them: the containers are about to
# lose their networks. A record that is held says in the file whether they are `attached` still; it is taken anew then, as it may
# be days old. Where Docker does not list the networks, what was recorded of them stays: a manager without a quorum answers late.
# Fails if the records cannot be written.
hold_containers() {
    is_detached || hold_with "$(print_networks || cat "$networks_record" 2>/dev/null)"
}

# is_detached: succeed if the record is held and containers may be off their networks.
is_detached() {
    [ -e "$containers_record.held" ] && [ ! -s "$containers_record.held" ]
}

# hold_with NETWORKS: write the records, and hold them.
hold_with() {
    record_all || [ -s "$containers_record" ] || return
    write_networks "$1" && echo attached >"$containers_record.held.new" || return
    mv -f "$containers_record.held.new" "$containers_record.held" || return
    sync "${containers_record%/*}" 2>/dev/null || sync
}

# write_networks NETWORKS: write their record, completely or not at all.
write_networks() {
    (umask 077 && printf '%s\n' "$1" >"$networks_record.new") || return
    sync "$networks_record.new" 2>/dev/null || sync
    mv -f "$networks_record.new" "$networks_record"
}

# record_networks: record the networks when containers were recorded anew, for the day on which Docker does not list them.
record_networks() {
    [ -e "$containers_record" ] && [ ! -e "$containers_record.held" ] || return 0
    # shellcheck disable=SC3013 # dash and busybox have -nt
    [ ! -e "$networks_record" ] || [ "$containers_record" -nt "$networks_record" ] || return 0
    ! listed=$(print_networks) || write_networks "$listed"
}

# print_networks: print the swarm's networks, as Docker's API tells them. Fails if Docker does not list them: one that was
# started without its managers is `pending`, and lists none. A network that is removed meanwhile takes no other with it: they
# are listed anew.
print_networks() {
    systemctl -q is-active docker.service || return
    for _ in 1 2 3; do
        ids=$(timeout 20 docker network ls -q --no-trunc -f scope=swarm 2>/dev/null) || return
        [ "$ids" ] || [ "$(swarm_state)" != pending ] || return
        # shellcheck disable=SC2086 # a word a network
        if found=$([ -z "$ids" ] || timeout 60 docker network inspect $ids 2>/dev/null); then
            printf '%s\n' "${found:-[]}"
            return
        fi
    done
    return 1
}

# swarm_state: print what this host is in its swarm, as its Docker says: active, pending, inactive, error or locked.
swarm_state() {
    timeout 20 docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null
}

# begin_detaching: from now on containers may be off their networks: the record that is held is not taken anew.
begin_detaching() {
    is_detached && return
    true >"$containers_record.held" && { sync "$containers_record.held" 2>/dev/null || sync; }
}

# record_all: bring the record of containers up to date, whatever was read before.
record_all() (
    # shellcheck disable=SC2034 # update_record's
    containers_root=$(docker_root) containers_mark=/nonexistent
    update_record
)

# free_name PATH: print the path, or PATH.1, PATH.2 and so on: the first one at which nothing is.
free_name() {
    name=$1 number=1
    while [ -e "$name" ]; do name=$1.$number number=$((number + 1)); done
    printf '%s\n' "$name"
}

# keep_swarm SWARM FOLDER: copy what dockerd has of a swarm in its folder SWARM to FOLDER. A copy that is there is of a leave
# which did not come to its end: it is replaced, unless less is left to be copied by now.
keep_swarm() {
    [ -e "$1/docker-state.json" ] || [ ! -d "$2" ] || return 0
    (umask 077 && mkdir -p "${2%/*}") && rm -rf "$2.new" || return
    if ! { cp -a "$1" "$2.new" && sync; }; then
        rm -rf "$2.new"
        return 1
    fi
    for part in raft certificates; do
        if [ -d "$2/$part" ] && [ ! -d "$2.new/$part" ]; then
            rm -rf "$2.new"
            return 0
        fi
    done
    rm -rf "$2" && mv "$2.new" "$2" && { sync "${2%/*}" 2>/dev/null || sync; }
}

# leave_swarm FOLDER: let this host leave its swarm. What its dockerd keeps of the swarm is copied first; see name_copies. Fails
# if Docker does not let it, and is not asked again by this function. Set `copied` to `yes` if there is a copy then.
leave_swarm() {
    copied=
    hold_containers && root=$(docker_root) || return
    if [ -e "$root/swarm/docker-state.json" ]; then
        keep_swarm "$root/swarm" "$1.leaving" && begin_detaching && copied=yes || return
        timeout 60 docker swarm leave --force >/dev/null 2>&1 || return
    fi
    begin_detaching || return
    name_copies "${1%/*}"
}

# name_copies FOLDER: give each copy there, FOLDER/ID.leaving, its final name, and set `kept` to where it is: the host has left
# the swarm. Until then the copy is that of a host which is about to leave. A host may have had the same ID before: then the
# copy is FOLDER/ID.1 and so on.
name_copies() {
    kept=$1
    for copy in "$1"/*.leaving; do
        [ -d "$copy" ] || continue
        kept=$(free_name "${copy%.leaving}")
        mv "$copy" "$kept" && { sync "$1" 2>/dev/null || sync; } || return
    done
}
