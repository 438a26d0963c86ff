#!/bin/sh
# Connect dockerd to the store, at every start and without waiting. Written by overlay-provision. POSIX sh.
#
# A dockerd that starts with a store without a quorum hangs until there is one: it has no API and runs no container, not
# even one without a network. A dockerd that starts with the store after a power cut keeps endpoints of containers that are
# gone, and those containers never start again. So dockerd starts without the store, and joins it when a quorum answers, by
# a reload of its configuration. There is one exception: under live-restore, a dockerd that has been on the store since the
# host's boot starts with the store if a quorum answers, so that running containers keep their names.
#
# docker-store prepare   before dockerd starts: write its configuration, with the store or without
# docker-store join      after its start: join the store when a quorum answers; then go on starting containers that could not
# docker-store reload    read the user's configuration again
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DOCKER_HOST=unix:///var/run/docker.sock
pki=${OVERLAY_PKI:-/etc/docker/overlay} # the variables are for tests
run=${OVERLAY_RUN:-/run/overlay-provision}
config=$run/daemon.json
joined=$run/docker.joined   # exists while this dockerd is on the store
cleaned=$run/docker.cleaned # exists if a dockerd has been on the store since the host's boot
whole=$run/docker.whole     # exists if the next dockerd has to start with the store, whatever its configuration says
began=$run/docker.began     # the time before this dockerd's start, or before the start of one that never served
looked=$run/docker.looked   # its mtime: when Docker was last asked for containers that could not start
turn=/overlay-provision/joining
aside=.overlay-join # the suffix of a container's name while its endpoint is freed

# Sets OVERLAY_STORE, OVERLAY_ADVERTISE, OVERLAY_TURNS, and OVERLAY_CONFIG (the path of the user's configuration).
# shellcheck disable=SC1091 # on the node
. "$pki/store.env"

# store WORD…: run a command of etcdctl at the store, for 3 s at most. The list of members is read each time.
store() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    endpoints=https://$(printf %s "${OVERLAY_STORE#etcd://}" | sed 's|,|,https://|g')
    ETCDCTL_API=2 timeout 3 etcdctl --endpoints "$endpoints" --ca-file "$pki/store-ca.crt" --cert-file "$pki/store.crt" \
        --key-file "$pki/store.key" --timeout 2s "$@" 2>/dev/null
}

# take_turn: get this node's turn to join; fails without a quorum. Four nodes or more join one after another, because Docker
# 20.10 joins the gossip of one neighbour, once: of four nodes that join at the same moment, two pairs may form and stay
# apart. A turn ends by itself after 30 s.
take_turn() {
    if [ "$OVERLAY_TURNS" = no ]; then
        store ls --quorum / >/dev/null
        return
    fi
    store mk --ttl 30 "$turn" "$OVERLAY_ADVERTISE" >/dev/null ||
        [ "$(store get --quorum "$turn")" = "$OVERLAY_ADVERTISE" ] # its own turn: an answer was lost, or dockerd restarted
}

# take_turn_soon: get the turn within 10 s; fail at once if no quorum answers.
take_turn_soon() {
    store ls --quorum / >/dev/null || return
    deadline=$(($(date +%s) + 10))
    until take_turn; do
        [ "$(date +%s)" -lt "$deadline" ] || return
        sleep 0.2
    done
}

end_turn() {
    [ "$OVERLAY_TURNS" = no ] || store rm --with-value "$OVERLAY_ADVERTISE" "$turn" >/dev/null
}

# configure [store]: write dockerd's configuration, readable by root alone: the user's, our defaults and, if asked, the keys
# of the store. The file is replaced atomically.
configure() {
    users=$(cat "$OVERLAY_CONFIG" 2>/dev/null) || users=
    rest=${users#*\{}
    ours=$(defaults && { [ "${1-}" != store ] || store_keys; })
    case $(printf %s "$rest" | tr -d '[:space:]') in '' | '}') ours=${ours%,} ;; esac
    (umask 077 && mkdir -p "$run" && printf '{%s\n%s\n' "$ours" "${rest:-\}}" >"$config.new" && mv -f "$config.new" "$config")
}

store_keys() {
    printf '"cluster-store": "%s", "cluster-advertise": "%s",\n' "$OVERLAY_STORE" "$OVERLAY_ADVERTISE"
    printf '"cluster-store-opts": {"kv.cacertfile": "%s/store-ca.crt",' "$pki"
    printf ' "kv.certfile": "%s/store.crt", "kv.keyfile": "%s/store.key"},\n' "$pki" "$pki"
}

# defaults: print those of our defaults that the user's configuration does not decide; see hardening.py.
defaults() {
    [ ! -r "$pki/hardening" ] || while read -r decided_by setting; do
        # shellcheck disable=SC2254 # a pattern
        case $users in *\"$decided_by*) ;; *) printf '%s,\n' "$setting" ;; esac
    done <"$pki/hardening"
}

prepare() {
    rm -f "$joined"
    mkdir -p "$run"
    [ -e "$began" ] || now >"$began"
    if { [ -e "$whole" ] || { [ -e "$cleaned" ] && restores_live; }; } && take_turn_soon; then
        configure store
    else
        configure
    fi
    rm -f "$whole"
}

# restores_live: succeed if the user's configuration sets live-restore. is_needed_whole finds out if a flag sets it.
restores_live() {
    grep -q '"live-restore"[[:space:]]*:[[:space:]]*true' "$OVERLAY_CONFIG" 2>/dev/null
}

on_store() {
    grep -q '"cluster-store"' "$config"
}

# reload: reload the user's configuration. dockerd keeps the members that it knows, and gets others at its next start.
reload() {
    if on_store; then
        OVERLAY_STORE=$(sed -n 's/.*"cluster-store": "\([^"]*\)".*/\1/p' "$config")
        configure store
    else
        configure
    fi
    hang_up
}

hang_up() {
    systemctl kill --signal=HUP --kill-who=main docker.service
}

has_taken_store() {
    [ -n "$(timeout 5 docker info --format '{{.ClusterStore}}' 2>/dev/null)" ]
}

# is_joined: succeed if dockerd listens for gossip. It does so only on the store, some time after the reload.
is_joined() {
    ss -H -lntp 'sport = :7946' | grep -q '"dockerd"'
}

# is_deaf: succeed if dockerd is on the store but does not listen for gossip, though the port is free. Another process had
# the port when dockerd wanted it, and dockerd never tries again.
is_deaf() {
    has_taken_store && ! ss -H -lnt 'sport = :7946' | grep -q .
}

# is_needed_whole: succeed if containers have continued to run through this dockerd's start. A reload does not restore their
# endpoints: the containers have no names, and the old endpoints block new ones. A start with the store restores them.
is_needed_whole() {
    [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ] && docker ps -q | grep -q .
}

# start_anew: restart docker.service, and with it this unit. Under live-restore that stops no container.
start_anew() {
    systemctl restart --no-block docker.service
    exit 0
}

start_whole() {
    : >"$whole"
    start_anew
}

# now: print the time as Docker writes it, without the Z. busybox's date knows no fraction of a second.
now() {
    date -u +%Y-%m-%dT%H:%M:%S.%N | sed 's/[.][^0-9].*//; s/[.]$//'
}

join() {
    start_shut_down
    if ! on_store; then
        until take_turn; do sleep 0.5; done # a host without the others may wait for days
        ! [ -e "$cleaned" ] || ! is_needed_whole || start_whole
        configure store
        hang_up
    fi
    polls=0
    until is_joined; do
        polls=$((polls + 1))
        [ $((polls % 100)) != 0 ] || hang_up
        [ $((polls % 300)) != 0 ] || ! is_deaf || start_anew
        sleep 0.05
    done
    : >"$cleaned"
    end_turn
    if [ -n "$(docker ps -aq)" ]; then
        put_names_back
        # Start what could not start before the unit is known to have joined: units that wait for that find the containers.
        found=$(left 2>/dev/null)
        [ -z "$found" ] || printf '%s\n' "$found" | xargs timeout 20 docker start >/dev/null 2>&1
    fi
    : >"$joined"
    find_neighbours &
    start_left
}

# find_neighbours: make this dockerd greet its neighbours again if none has answered. A dockerd greets a neighbour when the
# neighbour's announcement appears in the store, until one has answered. If several dockerds start at once, the old
# announcements are all there, nobody answers yet, and no new announcement appears: the dockerds would stay apart for good.
# So the others' announcements are removed. Each running dockerd renews its own within 20 s, and is greeted.
find_neighbours() {
    for pause in 2 3 5 10 20 25 25 25 25 25; do
        sleep "$pause"
        ! has_neighbours || return 0
        others=$(store ls /docker/nodes | grep -vF "/$OVERLAY_ADVERTISE")
        [ -n "$others" ] || continue
        echo "no neighbour of this dockerd has answered its gossip: those in the store are to announce themselves anew"
        for other in $others; do store rm "$other" >/dev/null; done
    done
}

# has_neighbours: succeed if this dockerd's journal says that another host has joined its gossip. The journal is searched by
# the unit's invocation, because a process of an earlier boot may have had the same PID.
has_neighbours() {
    started=$(systemctl show -p InvocationID --value docker.service)
    journalctl -q -o cat "_SYSTEMD_INVOCATION_ID=$started" | grep 'serf: EventMemberJoin' |
        grep -qvwF "${OVERLAY_ADVERTISE%:*}"
}

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
            docker rename "$1" "$name$aside"
            docker inspect "$name" || docker network disconnect --force "$network" "$name"
            docker rename "$1" "$name"
        done
    done
}

# put_names_back: restore the names of containers whose host lost power while they were renamed.
put_names_back() {
    docker ps -a --format '{{.Names}}' | while read -r name; do
        case $name in *"$aside") docker rename "$name" "${name%"$aside"}" >/dev/null 2>&1 ;; esac
    done
}

case ${1-} in
prepare | join | reload) "$1" ;;
*) echo "usage: docker-store prepare|join|reload" >&2; exit 2 ;;
esac
