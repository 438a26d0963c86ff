# A host that leaves its swarm: what its containers should have, and the swarm's data, are kept. POSIX sh; containers.sh comes
# before it.
gossip_port=7946
networks_record=$containers_record.networks # the swarm's networks, as Docker's API tells them

# hold_containers: bring the records of containers and of their networks up to date, and hold them: the containers are about to
# lose their networks. A record that is held says in the file whether they are `attached` still; it is taken anew then, as it may
# be days old. Fails if the records cannot be written.
hold_containers() {
    [ ! -e "$containers_record.held" ] || [ -s "$containers_record.held" ] || return 0
    record_all || [ -s "$containers_record" ] || return
    # A dockerd that starts answers late.
    ids=$(systemctl -q is-active docker.service && timeout 20 docker network ls -q --no-trunc -f scope=swarm 2>/dev/null) || ids=
    # shellcheck disable=SC2086 # a word a network
    inspected=$([ -z "$ids" ] || timeout 60 docker network inspect $ids 2>/dev/null) || inspected=
    (umask 077 && printf '%s\n' "${inspected:-[]}" >"$networks_record.new") || return
    sync "$networks_record.new" 2>/dev/null || sync
    mv -f "$networks_record.new" "$networks_record" && echo attached >"$containers_record.held" || return
    sync "${containers_record%/*}" 2>/dev/null || sync
}

# begin_detaching: from now on containers may be off their networks: the record that is held is not taken anew.
begin_detaching() {
    [ -e "$containers_record.held" ] && [ ! -s "$containers_record.held" ] && return
    : >"$containers_record.held" && { sync "$containers_record.held" 2>/dev/null || sync; }
}

# record_all: bring the record of containers up to date, whatever was read before.
record_all() (
    # shellcheck disable=SC2034 # update_record's
    containers_root=$(docker_root) containers_mark=/nonexistent
    update_record
)

# keep_swarm ROOT FOLDER: copy what Docker's folder ROOT has of a swarm to FOLDER, unless such a copy is there.
keep_swarm() {
    [ ! -d "$2" ] || return 0
    (umask 077 && mkdir -p "${2%/*}") && rm -rf "$2.new" && cp -a "$1/swarm" "$2.new" && sync && mv "$2.new" "$2"
}

# leave_swarm FOLDER: let this host leave its swarm. What its dockerd keeps of the swarm is copied to the folder first. Fails
# if Docker does not let it, and is not asked again by this function.
leave_swarm() {
    hold_containers && begin_detaching || return
    root=$(docker_root)
    [ -e "$root/swarm/docker-state.json" ] || return 0
    keep_swarm "$root" "$1" && timeout 60 docker swarm leave --force >/dev/null 2>&1
}
