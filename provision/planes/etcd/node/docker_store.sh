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
# Nothing else of the environment that systemd or a unit gives changes what this program does.
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case $name in OVERLAY_* | LC_ALL | PATH | SHELLOPTS | BASHOPTS) ;; *) unset "$name" ;; esac
done
export DOCKER_HOST=unix:///var/run/docker.sock
pki=${OVERLAY_PKI:-/etc/docker/overlay} # the variables are for tests
run=${OVERLAY_RUN:-/run/overlay-provision}
hardening=$pki/hardening
config=$run/daemon.json
joined=$run/docker.joined   # exists while this dockerd is on the store
cleaned=$run/docker.cleaned # exists if a dockerd has been on the store since the host's boot
moved=$run/docker.moved     # exists if the dockerd before this one was on the store at another address
whole=$run/docker.whole     # exists if the next dockerd has to start with the store, whatever its configuration says
outgrown=$run/docker.outgrown # exists while dockerd is of a version without a cluster store: its version
began=$run/docker.began     # the time before this dockerd's start, or before the start of one that never served
looked=$run/docker.looked   # its mtime: when Docker was last asked for containers that could not start
too_new=23 # the first version of Docker without a cluster store
within="timeout 3" # for a command of etcdctl
turn=/overlay-provision/joining
forgotten=60 # seconds in which the others' gossip forgets a dockerd: they miss it for 4 to 24 s, and keep it for 30 s
gossip_port=7946
aside=.overlay-join # the suffix of a container's name while its endpoint is freed

# Sets OVERLAY_STORE, OVERLAY_ADVERTISE, OVERLAY_TURNS, and OVERLAY_CONFIG (the path of the user's configuration).
# shellcheck disable=SC1091 # on the node
. "$pki/store.env"

store_keys() {
    printf '"cluster-store": "%s", "cluster-advertise": "%s",\n' "$OVERLAY_STORE" "$OVERLAY_ADVERTISE"
    printf '"cluster-store-opts": {"kv.cacertfile": "%s/store-ca.crt",' "$pki"
    printf ' "kv.certfile": "%s/store.crt", "kv.keyfile": "%s/store.key"},\n' "$pki" "$pki"
}

prepare() {
    rm -f "$joined"
    mkdir -p "$run"
    note_version
    note_address
    [ -e "$began" ] || now >"$began"
    if [ ! -e "$outgrown" ] && { [ -e "$whole" ] || { [ -e "$cleaned" ] && restores_live; }; } && [ ! -e "$moved" ] && take_turn_soon; then
        configure store_keys
    else
        configure
    fi
    rm -f "$whole"
}

# note_version: record whether the dockerd that is about to start is too new for a cluster store. With one in its
# configuration it would not start.
note_version() {
    version=$(stamped version "$(command -v dockerd)" || dockerd --version 2>/dev/null)
    version=${version##*Docker version } version=${version%%[!0-9.]*}
    if [ "${version%%.*}" -ge "$too_new" ] 2>/dev/null; then echo "$version" >"$outgrown"; else rm -f "$outgrown"; fi
}

# note_address: record whether the dockerd before this one was on the store at another address.
note_address() {
    was=$(sed -n 's/.*"cluster-advertise": "\([^"]*\)".*/\1/p' "$config" 2>/dev/null)
    [ "${was:-$OVERLAY_ADVERTISE}" = "$OVERLAY_ADVERTISE" ] || : >"$moved"
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
        configure store_keys
    else
        configure
    fi
    hang_up
}

hang_up() {
    systemctl kill --signal=HUP --kill-who=main docker.service
}

