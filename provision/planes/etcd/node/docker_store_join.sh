# Take this node's dockerd into the store. POSIX sh.

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

has_taken_store() {
    [ -n "$(timeout 5 docker info --format '{{.ClusterStore}}' 2>/dev/null)" ]
}

# is_joined: succeed if dockerd listens for gossip. It does so only on the store, some time after the reload.
is_joined() {
    ss -H -lntp "sport = :$gossip_port" | grep -q '"dockerd"'
}

# is_deaf: succeed if dockerd is on the store but does not listen for gossip, though the port is free. Another process had
# the port when dockerd wanted it, and dockerd never tries again.
is_deaf() {
    has_taken_store && listeners=$(ss -H -lnt "sport = :$gossip_port") && [ -z "$listeners" ]
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

join() {
    start_shut_down
    if [ -e "$outgrown" ]; then
        tell_outgrown
        return
    fi
    if ! on_store; then
        until take_turn; do sleep 0.5; done # a host without the others may wait for days
        ! [ -e "$cleaned" ] || ! is_needed_whole || start_whole
        configure store_keys
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
        started=$(systemctl show -p InvocationID --value docker.service)
        [ -n "$started" ] || continue # systemd does not answer
        ! has_neighbours "$started" || return 0
        others=$(store ls /docker/nodes | grep -vF "/$OVERLAY_ADVERTISE")
        [ -n "$others" ] || continue
        echo "no neighbour of this dockerd has answered its gossip: those in the store are to announce themselves anew"
        for other in $others; do store rm "$other" >/dev/null; done
    done
}

# has_neighbours INVOCATION: succeed if this dockerd's journal says that another host has joined its gossip. The journal is
# searched by the unit's invocation, because a process of an earlier boot may have had the same PID.
has_neighbours() {
    journalctl -q -o cat "_SYSTEMD_INVOCATION_ID=$1" | grep 'serf: EventMemberJoin' |
        grep -qvwF "${OVERLAY_ADVERTISE%:*}"
}

