#!/bin/sh
# dockerd's way to the store, for every start of it and without waiting. Written by overlay-provision. POSIX sh.
#
# A dockerd that is started on a store without a quorum hangs until there is one: no API, no container, not even a
# plain one. And one that is started on the store after a power cut keeps endpoints of containers that are gone, so
# that those never start again. So it is started without the store, and joins when there is a quorum: a reload of its
# configuration takes the store up. Only under live-restore a dockerd that has been on the store since the host was
# booted is started on it right away, where a quorum answers: the containers that run keep their names then.
#
# docker-store prepare   before dockerd starts: its configuration, with the store or without
# docker-store join      after it: the store, once there is a quorum; then, for good, the containers that could not start
# docker-store reload    the user's configuration read anew
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DOCKER_HOST=unix:///var/run/docker.sock
pki=${OVERLAY_PKI:-/etc/docker/overlay} # the variables are for tests
run=${OVERLAY_RUN:-/run/overlay-provision}
config=$run/daemon.json
joined=$run/docker.joined   # this dockerd is on the store
cleaned=$run/docker.cleaned # one was, since the host was booted
whole=$run/docker.whole     # the next is to be started on it, whatever its configuration says
began=$run/docker.began     # when this dockerd was about to start, or one before it that never served
looked=$run/docker.looked   # when it was last asked for containers that could not start
turn=/overlay-provision/joining
aside=.overlay-join # ends the name of a container while its endpoint is freed

# OVERLAY_STORE, OVERLAY_ADVERTISE, OVERLAY_TURNS and OVERLAY_CONFIG, the user's own configuration
# shellcheck disable=SC1091 # on the node
. "$pki/store.env"

# store WORD...: a command of etcdctl at the store, which answers within 3 s or has failed. Members are those of now.
store() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    endpoints=https://$(printf %s "${OVERLAY_STORE#etcd://}" | sed 's|,|,https://|g')
    ETCDCTL_API=2 timeout 3 etcdctl --endpoints "$endpoints" --ca-file "$pki/store-ca.crt" --cert-file "$pki/store.crt" \
        --key-file "$pki/store.key" --timeout 2s "$@" 2>/dev/null
}

# take_turn: where there are four nodes or more, they join one after another. For its gossip Docker 20.10 joins one
# neighbour, once: of four that come at the same moment two and two may find each other, and stay apart. A turn ends by
# itself after 30 s. Without a quorum nobody gets one.
take_turn() {
    if [ "$OVERLAY_TURNS" = no ]; then
        store ls --quorum / >/dev/null
        return
    fi
    store mk --ttl 30 "$turn" "$OVERLAY_ADVERTISE" >/dev/null ||
        [ "$(store get --quorum "$turn")" = "$OVERLAY_ADVERTISE" ] # an answer was lost, or a start of this dockerd
}

# take_turn_soon: where a quorum answers, within 10 s.
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

# configure [store]: the user's configuration, for root alone, with our defaults, and the store's keys or without; whole
# or as it was.
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

# defaults: those that the user's configuration does not speak of, see hardening.py.
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

# restores_live: the user's configuration says so. Where a flag of dockerd does, is_needed_whole finds out.
restores_live() {
    grep -q '"live-restore"[[:space:]]*:[[:space:]]*true' "$OVERLAY_CONFIG" 2>/dev/null
}

on_store() {
    grep -q '"cluster-store"' "$config"
}

# reload: with the members that dockerd knows; others it takes at its next start.
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

# is_joined: open for its neighbours' gossip, which dockerd is only on the store; it goes there in its background.
is_joined() {
    ss -H -lntp 'sport = :7946' | grep -q '"dockerd"'
}

# is_deaf: on the store without gossip, though the port is free: somebody had it at the moment when dockerd wanted it,
# and it never tries again.
is_deaf() {
    has_taken_store && ! ss -H -lnt 'sport = :7946' | grep -q .
}

# is_needed_whole: containers have gone on running through this dockerd's start. What they had on the store is not
# taken up again by a reload: no names for them, and their endpoints in the way of new ones. A start on the store does.
is_needed_whole() {
    [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ] && docker ps -q | grep -q .
}

# start_anew: this unit is started anew with docker.service. Under live-restore that stops no container.
start_anew() {
    systemctl restart --no-block docker.service
    exit 0
}

start_whole() {
    : >"$whole"
    start_anew
}

# now: the moment, as Docker begins to write it; busybox knows the second.
now() {
    date -u +%Y-%m-%dT%H:%M:%S.%N | sed 's/[.][^0-9].*//; s/[.]$//'
}

join() {
    start_shut_down
    if ! on_store; then
        until take_turn; do sleep 0.5; done # a lone host may ask for days
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
        # Who waits for dockerd to have joined finds the containers there, as after any start of it.
        found=$(left 2>/dev/null)
        [ -z "$found" ] || printf '%s\n' "$found" | xargs timeout 20 docker start >/dev/null 2>&1
    fi
    : >"$joined"
    find_neighbours &
    start_left
}

# find_neighbours: a dockerd greets each neighbour when it is announced in the store, until one has answered. Where several
# start at once, the announcements of before may all be there, none answers yet, and none is announced again: they stay
# apart for good. So where no neighbour has been heard of, the announcements are removed: each dockerd that lives renews
# its own within 20 s, and is greeted.
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

# has_neighbours: the journal of this dockerd says that another host has joined its gossip. A process of an earlier boot may
# have had the same number.
has_neighbours() {
    started=$(systemctl show -p InvocationID --value docker.service)
    journalctl -q -o cat "_SYSTEMD_INVOCATION_ID=$started" | grep 'serf: EventMemberJoin' |
        grep -qvwF "${OVERLAY_ADVERTISE%:*}"
}

# left: containers that should run, and could not be started for want of a network that is not this host's alone.
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

# start_shut_down: a dockerd that was killed shuts down, when it starts again, what still runs, and takes those that are to run
# `unless-stopped` for stopped by their user. They are told by the time: nobody could ask for it before Docker served.
start_shut_down() {
    [ -e "$began" ] || return 0
    from=$(cat "$began") till=$(now)Z # a Z comes after any fraction
    rm -f "$began"
    # shellcheck disable=SC2046 # a word a container
    docker inspect --format '{{if and (eq .HostConfig.RestartPolicy.Name "unless-stopped") (gt .State.FinishedAt "'"$from"'")
        (lt .State.FinishedAt "'"$till"'")}}{{.Id}}{{end}}' $(docker ps -aq --filter status=exited) 2>/dev/null |
        grep . | xargs -r timeout 20 docker start >/dev/null 2>&1
}

# start_left: as long as dockerd runs, for Docker tries once. One of its threads may lead nowhere, so often at first;
# without a quorum none can start. Docker is asked when it has written down that a container's state changed.
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

# has_changed FOLDER: Docker has written down something about a container since it was asked; or that cannot be seen.
has_changed() {
    [ ! -d "$1" ] || find "$1" -mindepth 2 -maxdepth 2 -name config.v2.json -newer "$looked" | grep -q .
}

# free CONTAINER: a dockerd that was killed may leave a container's endpoint on the store, where it is in the container's
# own way for ever. Docker frees an endpoint by its name where no container has that name: so that is set aside for a
# moment. Only an endpoint that this host made: one of this name may be another host's.
free() {
    docker inspect --format '{{.State.Error}}' "$1" | grep -q 'already exists in network' || return
    name=$(docker inspect --format '{{slice .Name 1}}' "$1")
    # A container that never started has networks by name alone.
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

# put_names_back: of a host that lost its power while a name was set aside.
put_names_back() {
    docker ps -a --format '{{.Names}}' | while read -r name; do
        case $name in *"$aside") docker rename "$name" "${name%"$aside"}" >/dev/null 2>&1 ;; esac
    done
}

case ${1-} in
prepare | join | reload) "$1" ;;
*) echo "usage: docker-store prepare|join|reload" >&2; exit 2 ;;
esac
