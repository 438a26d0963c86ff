# Threads of dockerd that are in a namespace that is gone, brought home. POSIX sh.

# strays: the threads of dockerd that are in the network namespace of nothing that runs.
strays() {
    process=$(cat "$pidfile" 2>/dev/null) || return 0
    {
        stat -L -c 'home %i' /proc/self/ns/net "$spaces"/*
        stat -L -c 'thread %i %n' "/proc/$process"/task/*/ns/net
    } 2>/dev/null | awk '
    $1 == "home" { home[$2] }
    $1 == "thread" && !($2 in home) { sub("/ns/net", "", $3); print $3 }'
}

# bring_home: libnetwork brings home each thread that it works on for a container's sake, for example to ask for a name that
# it does not know; and the thread that has just come back from watching is the next to be used. So it is called back into
# such work. One that came back long ago is reached where more are busy at once.
bring_home() {
    ! is_left_away || return 0
    tries=0 deadline=$(($(date +%s) + 5)) # by itself a thread comes back within 3 s
    while there=$(strays) && [ "$there" ] && keeper=$(keeper_space); do
        ask_for_nothing "$keeper" &
        asking=$!
        for thread in $there; do
            case $(cat "$thread/wchan") in __skb_wait*) call_back "$thread" ;; esac
        done
        wait "$asking" || rm -f "$keeper_file" # it was another dockerd's
        tries=$((tries + 1))
        [ $((tries % 6)) != 0 ] || for _ in 1 2; do docker exec "$(a_keeper)" true & done
        [ "$(date +%s)" -le "$deadline" ] || {
            printf '%s\n' "$there" >"$left_away"
            break
        }
        [ "$tries" -lt 3 ] || sleep 0.1
    done
    [ "$there" ] || rm -f "$left_away"
} 2>/dev/null

# is_left_away: some threads did not come home, less than ten seconds ago.
is_left_away() {
    [ -e "$left_away" ] && [ $(($(date +%s) - $(stat -c %Y "$left_away"))) -lt 10 ]
}

# keeper_space: the namespace of a keeper, which has Docker's resolver. Docker is asked when the last one is gone.
keeper_space() {
    space=$(cat "$keeper_file")
    if [ ! -e "$space" ]; then
        space=$(docker inspect -f '{{.NetworkSettings.SandboxKey}}' "$(a_keeper)")
        [ -e "$space" ] || return
        printf '%s\n' "$space" >"$keeper_file"
    fi
    printf '%s\n' "$space"
}

a_keeper() {
    docker ps -q -f label=overlay-keeper | head -n 1
}

# call_back THREAD: it waits, for up to 3 s, for news of its namespace's neighbours: an address of documentation (RFC 5737).
# It may have come home meanwhile, where no such news is to be.
call_back() {
    {
        [ "$(stat -L -c %i /proc/self/fd/3)" = "$(stat -L -c %i /proc/self/ns/net)" ] ||
            nsenter --net=/proc/self/fd/3 ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev lo nud permanent
    } 3<"$1/ns/net"
}

# ask_for_nothing SPACE: in its place, for a name that cannot be (RFC 6761), of type A, for some milliseconds.
ask_for_nothing() {
    # shellcheck disable=SC2016 # bash's
    nsenter --net="$1" bash -c 'exec 4<> <(:)
        for _ in 1 2 3 4 5 6; do
            printf "\1\1\1\0\0\1\0\0\0\0\0\0\10overlays\7invalid\0\0\1\0\1" >/dev/udp/127.0.0.11/53
            read -rt 0.002 <&4
        done
        exit 0'
}

