# Start containers that Docker has given up; the command line. POSIX sh.

# left: print the containers that should run, and could not start because a network of the cluster was missing.
left() {
    stopped=$(docker ps -aq --filter status=exited --filter status=created)
    [ -n "$stopped" ] || return
    here=$(docker network ls --filter scope=local --format '{{.Name}}' | tr '\n' ' ')
    [ -n "$here" ] || return
    # shellcheck disable=SC2016,SC2086 # $name is Docker's; a word a container
    docker inspect --format '{{if ne .HostConfig.RestartPolicy.Name "no"}}{{.Id}}{{range $name, $_ := .NetworkSettings.Networks
        }} {{$name}}{{end}} : {{.State.Error}}{{end}}' $stopped |
        grep -E ' : .*(network|endpoint|sandbox|store)' | while read -r container networks; do
        for network in ${networks%% : *}; do
            case " $here" in *" $network "*) ;; *) printf '%s\n' "$container" && break ;; esac
        done
    done
}

# start_shut_down: start the containers that dockerd itself has stopped at its start. A dockerd that starts after it was
# killed stops the containers that still run, and treats those with the policy `unless-stopped` as stopped by their user.
# They are recognised by the time at which they ended: before dockerd served, no user could stop a container.
start_shut_down() {
    [ -e "$began" ] || return 0
    from=$(cat "$began") till=$(now)Z # a Z comes after any fraction
    rm -f "$began"
    # shellcheck disable=SC2046 # a word a container
    docker inspect --format '{{if and (eq .HostConfig.RestartPolicy.Name "unless-stopped") (gt .State.FinishedAt "'"$from"'")
        (lt .State.FinishedAt "'"$till"'")}}{{.Id}}{{end}}' $(docker ps -aq --filter status=exited) 2>/dev/null |
        grep . | xargs -r timeout 20 docker start >/dev/null 2>&1
}

# now: print the time as Docker writes it, without the Z. busybox's date knows no fraction of a second.
now() {
    date -u +%Y-%m-%dT%H:%M:%S.%N | sed 's/[.][^0-9].*//; s/[.]$//'
}

# start_left: start the containers of `left` as long as dockerd runs, because Docker tries only once. The first attempts
# follow quickly, because one may fail on a thread of Docker in a namespace that is gone. Nothing is tried without a quorum.
# Docker is asked when it has written a container's changed state to disk.
start_left() {
    tries=0
    containers=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)/containers
    while :; do
        : >"$looked"
        found=$(left 2>/dev/null)
        if [ -z "$found" ]; then
            tries=0
            sleep 10
            rounds=0
            while [ "$rounds" -lt 6 ] && ! has_changed "$containers"; do
                rounds=$((rounds + 1))
                sleep 10
            done
        elif store ls --quorum / >/dev/null && ! printf '%s\n' "$found" | xargs timeout 60 docker start >/dev/null 2>&1; then
            for container in $found; do free "$container" >/dev/null 2>&1; done
            tries=$((tries + 1))
            if [ "$tries" -lt 10 ]; then sleep 1; else sleep 20; fi
        else
            sleep 1
        fi
    done
}

# has_changed FOLDER: succeed if Docker has written a container's state to disk since it was asked, or if that is unknown.
has_changed() {
    [ ! -d "$1" ] || find "$1" -mindepth 2 -maxdepth 2 -name config.v2.json -newer "$looked" | grep -q .
}

# free CONTAINER: free a stale endpoint of the container. A dockerd that was killed may leave a container's endpoint in the
# store, and then the container can never join its network again. Docker frees an endpoint by its name only if no container
# of this host has that name: so the container is renamed for a moment. Only endpoints of this host are freed: another
# host's endpoint may have the same name.
free() {
    docker inspect --format '{{.State.Error}}' "$1" | grep -q 'already exists in network' || return
    name=$(docker inspect --format '{{slice .Name 1}}' "$1")
    # A container that never started knows its networks only by name.
    # shellcheck disable=SC2016 # $on and $one are Docker's
    for on in $(docker inspect --format '{{range $on, $one := .NetworkSettings.Networks}}{{println $on}}{{end}}' "$1"); do
        network=$(docker network inspect --format '{{.Id}}' "$on") || continue
        for key in $(store ls "/docker/network/v1.0/endpoint/$network"); do
            endpoint=$(store get "$key")
            case $endpoint in *"\"locator\":\"${OVERLAY_ADVERTISE%:*}\""*) ;; *) continue ;; esac
            case $endpoint in *"\"name\":\"$name\""*) ;; *) continue ;; esac
            docker rename "$1" "$name$aside" || continue
            docker inspect "$name" || docker network disconnect --force "$network" "$name"
            docker rename "$1" "$name"
        done
    done
}

case ${1-} in
prepare | join | reload) "$1" ;;
*) echo "usage: docker-store prepare|join|reload" >&2; exit 2 ;;
esac
