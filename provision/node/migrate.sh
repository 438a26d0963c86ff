# Take a node from one control plane to the next. POSIX sh; record.sh, changes.sh and reset.sh come before it. The former
# control plane's own reset.sh follows; it defines leave_network, retire_docker and retire_rest.
# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails

# halt: stop dockerd with its containers, and take the former control plane out of its configuration. Containers are not
# stopped one by one: Docker would not start those any more that are `unless-stopped`.
halt() {
    : >"$state/containers.held" || die "cannot write $state/containers.held"
    drop_keepers
    [ -s "$state/migration.stopped" ] || put_note migration.stopped "$(date +%s)"
    leave_network
    timeout 240 systemctl stop docker.service docker.socket 2>/dev/null || stop_dockerd
    require_stopped docker.service
    retire_docker
    systemctl daemon-reload
    rm -f /run/overlay-provision/docker.* /run/overlay-provision/mend.* /run/overlay-provision/daemon.json
    put_note migration.stage stopped
}

# retire: take away the rest of the former control plane.
retire() {
    retire_rest
    systemctl daemon-reload
    put_note migration.stage left
}

# put_note NAME TEXT: write a file beside the record, durably.
put_note() {
    (umask 077 && printf '%s\n' "$2" >"$state/$1.new") && sync_path "$state/$1.new" && mv -f "$state/$1.new" "$state/$1" ||
        die "cannot write $state/$1"
    sync_path "$state"
}

# is_gone CONTAINER: succeed if Docker has the container no more. A Docker that does not say what it has ends the script.
is_gone() {
    listed=$(timeout 60 docker ps -a --no-trunc --format "$listed_id" 2>/dev/null) ||
        die "Docker does not say which containers there are"
    case " $(printf %s "$listed" | tr '\n' ' ') " in *" $1 "*) return 1 ;; esac
}

# connect_again CONTAINER NETWORK ADDRESS ALIAS…: connect a container as before, with an address of its own unless that is
# empty. What Docker still has of the former network of this name goes first. A container that runs there is left alone.
# One that cannot be connected is no error here: the proof names it.
connect_again() {
    container=$1 network=$2 address=$3
    shift 3
    here=$(docker inspect -f "{{.State.Running}} {{with index .NetworkSettings.Networks \"$network\"}}{{.IPAddress}}{{end}}" \
        "$container" 2>/dev/null) || { ! is_gone "$container" || return 0; die "Docker does not show container $container"; }
    at=${here#* }
    [ "${here%% *}" != true ] || [ -z "$at" ] || [ "${address:-$at}" != "$at" ] || return 0
    for alias; do
        set -- "$@" --alias "$alias"
        shift
    done
    docker network disconnect -f "$network" "$container" >/dev/null 2>&1 || true
    for _ in 1 2 3; do
        ! timeout 60 docker network connect ${address:+--ip "$address"} "$@" "$network" "$container" >/dev/null 2>&1 || return 0
        docker network disconnect -f "$network" "$container" >/dev/null 2>&1 || true
    done
}

# start_again CONTAINER…: start containers, all at once. A container that cannot start is no error here: the proof names it.
start_again() {
    for container; do
        start_one "$container" &
    done
    wait
}

# start_one CONTAINER: start a container. An attempt may fail while the networks come to this node. Docker 26 and later connects
# the networks of a container in an order that it draws, and fails if a shared one that the container was made with is not the
# first and no container here is on it yet: then it draws again.
start_one() {
    for pause in 0.3 1 1 2 3 5 5; do
        drawn=0
        while [ "$((drawn += 1))" -le 30 ]; do
            ! error=$(timeout 60 docker start "$1" 2>&1 >/dev/null) || return 0
            case $error in *'matching network mode'*) ;; *) break ;; esac
        done
        docker inspect "$1" >/dev/null 2>&1 || ! is_gone "$1" || return 0
        sleep "$pause"
    done
}

# show_again CONTAINER…: print when this node's containers began to stop, and each container as it is now: whether it runs,
# since when, its address on each network, and Docker's error; or that it is gone.
show_again() {
    [ ! -s "$state/migration.stopped" ] || fact stopped "$(line_of "$state/migration.stopped")"
    for container; do
        docker inspect --format "container$tab{{.Id}}$tab{{.State.Running}}$tab{{.State.StartedAt}}$tab{{
            range \$name, \$place := .NetworkSettings.Networks}}{{\$name}}={{\$place.IPAddress}} {{end}}$tab{{.State.Error}}" \
            "$container" 2>/dev/null && continue
        is_gone "$container" || die "Docker does not show container $container"
        fact gone "$container"
    done
}

# find_names NETWORK IMAGE LABEL NAME…: on the network, print each name that answers to a ping, and its address.
find_names() {
    network=$1 image=$2 label=$3
    shift 3
    # shellcheck disable=SC2016 # the container's
    docker run --rm --label "$label" --network "$network" --cap-drop ALL --cap-add NET_RAW --log-driver none "$image" sh -c '
        for name; do
            ! answer=$(ping -c 1 -W 1 "$name" 2>/dev/null) || { answer=${answer#*\(} && echo "$name ${answer%%\)*}"; }
        done' sh "$@"
}
