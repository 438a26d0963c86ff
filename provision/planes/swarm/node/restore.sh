# Set a swarm up anew from what was saved of a manager. POSIX sh; library.sh, record.sh, changes.sh, reset.sh, containers.sh and
# migrate.sh of provision/node, and former_swarm.sh come before it. How far a node is, is in the file `restore` beside its record, after the identity of the
# restore: `leaving` while its dockerd is stopped, `aside` when it is in no swarm, `placed` when the saved files are in place, and
# `forced` when the saved swarm is at work.
# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails

# pause_containers: until the phase mend, nothing starts containers on swarm networks, and their record stays as it is.
pause_containers() {
    : >"$state/containers.held" || die "cannot write $state/containers.held"
    systemctl stop overlay-mend.service 2>/dev/null || true
}

# put_swarm_aside ROOT RESTORE: stop dockerd, and move what Docker's folder has of a swarm to a folder beside our record.
put_swarm_aside() {
    put_note restore "$2 leaving"
    timeout 240 systemctl stop docker.service docker.socket 2>/dev/null || stop_dockerd
    require_stopped docker.service # one that runs would write to the folder that is moved
    ! rmdir "$1/swarm" 2>/dev/null || return 0 # as a host has that was never in one
    [ -e "$1/swarm" ] || return 0
    kept=$(free_name "$state/former-swarms/before-restore.$(date -u +%Y%m%dT%H%M%SZ)")
    keep_swarm "$1/swarm" "$kept" && rm -rf "$1/swarm" || die "cannot move $1/swarm to $kept"
    sync_path "$1"
}

# put_former_swarm_aside ROOT RESTORE: put the former swarm aside, and start dockerd, which is in none then. Where the saved files
# are in place, only start dockerd.
put_former_swarm_aside() {
    case $(line_of "$state/restore") in
    "$2 placed" | "$2 forced") ;;
    *)
        pause_containers
        put_swarm_aside "$1" "$2"
        put_note restore "$2 aside"
        ;;
    esac
    run_unit start docker.service 120
}

# restore_swarm ROOT RESTORE ADDRESS PORT VXLAN-PORT ID < base64: set the saved swarm up on this node, which has the ID in it,
# from where an earlier run has stopped.
restore_swarm() {
    case $(line_of "$state/restore") in
    "$2 forced") return 0 ;;
    "$2 placed") ;;
    *)
        unpack_swarm "$1"
        put_swarm_aside "$1" "$2"
        mv "$1/swarm.restored" "$1/swarm" || die "cannot put the saved swarm in place in $1"
        sync_path "$1"
        put_note restore "$2 placed"
        ;;
    esac
    run_unit start docker.service 120
    force_swarm "$3" "$4" "$5" "$6"
    put_note restore "$2 forced"
}

# unpack_swarm ROOT < base64: unpack the saved files beside their place. Without docker-state.json, which has the former
# addresses, dockerd starts in no swarm.
unpack_swarm() {
    rm -rf "$1/swarm.restored" && mkdir -m 700 "$1/swarm.restored" || die "cannot make $1/swarm.restored"
    base64 -d | tar -xzf - -C "$1/swarm.restored" || give_up "$1/swarm.restored" "cannot unpack the saved swarm in $1"
    sync
}

# force_swarm ADDRESS PORT VXLAN-PORT ID: let this node alone manage the saved swarm. No other node can have joined it yet, so
# that all others that it lists are of before; they are struck off, and nobody can join with the former tokens.
force_swarm() {
    require_own "$4"
    is_led || force "$1" "$2" "$3"
    require_own "$4"
    for role in worker manager; do
        timeout 60 docker swarm join-token -q --rotate "$role" >/dev/null || die "Docker does not make a new join token"
    done
    nodes=$(timeout 60 docker node ls -q) || die "Docker does not list the nodes of the swarm"
    for node in $nodes; do
        [ "$node" = "$4" ] || timeout 60 docker node rm --force "$node" >/dev/null || die "Docker does not strike $node off"
    done
}

# require_own ID: die if this node is in another swarm than the saved one, in which it has the ID. A user may have let it join
# one since an earlier run has stopped, and that one must not be forced.
require_own() {
    self=$(timeout 60 docker info --format '{{.Swarm.NodeID}}') || die "Docker does not say which node of the swarm this is"
    [ -z "$self" ] || [ "$self" = "$1" ] ||
        die "this node is in another swarm by now; on it: docker swarm leave --force; rm $state/restore"
}

# force ADDRESS PORT VXLAN-PORT: make this node the only manager, at its own addresses, and wait until it leads.
force() {
    for _ in 1 2 3; do
        said=$(timeout 120 docker swarm init --force-new-cluster --advertise-addr "$1:$2" --listen-addr "$1:$2" \
            --data-path-addr "$1" --data-path-port "$3" 2>&1 >/dev/null) || { sleep 1 && continue; }
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            ! is_led || return 0
            sleep 1
        done
    done
    die "Docker does not take up the saved swarm: ${said:-it has no leader}"
}

# is_led: succeed if this node manages a swarm that has a leader.
is_led() {
    timeout 20 docker node ls -q >/dev/null 2>&1
}
