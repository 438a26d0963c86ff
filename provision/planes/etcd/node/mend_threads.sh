# Bring threads of dockerd back from network namespaces that are gone. POSIX sh.

# strays: print the threads of dockerd that are in none of the network namespaces that exist.
strays() {
    process=$(cat "$pidfile" 2>/dev/null) || return 0
    {
        stat -L -c 'home %i' /proc/self/ns/net "$spaces"/*
        stat -L -c 'thread %i %n' "/proc/$process"/task/*/ns/net
    } 2>/dev/null | awk '
    $1 == "home" { home[$2] }
    $1 == "thread" && !($2 in home) { sub("/ns/net", "", $3); print $3 }'
}

# bring_home: bring all stray threads back. libnetwork returns a thread to the host's namespace after work in a container's
# namespace, for example after a query for a name that it does not know. Go uses the thread that was released last. So the
# stray thread is woken from its wait, and at the same moment libnetwork gets such work. A thread that was released long ago
# is used when several threads are needed at once.
bring_home() {
    ! is_left_away || return 0
    tries=0 deadline=$(($(date +%s) + 5)) # a thread's wait ends by itself within 3 s
    while there=$(strays) && [ "$there" ] && keeper=$(keeper_space); do
        ask_for_nothing "$keeper" &
        asking=$!
        for thread in $there; do
            case $(cat "$thread/wchan") in __skb_wait*) call_back "$thread" ;; esac
        done
        wait "$asking" || rm -f "$keeper_file" # the namespace was of a keeper of an earlier dockerd
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

# is_left_away: succeed if an attempt to bring threads back failed less than ten seconds ago.
is_left_away() {
    [ -e "$left_away" ] && [ $(($(date +%s) - $(stat -c %Y "$left_away"))) -lt 10 ]
}

# keeper_space: print the network namespace of a keeper, in which Docker's resolver listens. The answer is kept in a file.
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
    docker ps -f label=overlay-keeper --format "$listed_id" | grep . | head -n 1
}

# call_back THREAD: end a thread's wait. It waits for changes of its namespace's neighbour table, for up to 3 s: so a row is
# added, for an address for documentation (RFC 5737). No row is added if the thread is back in the host's namespace by now.
call_back() {
    {
        [ "$(stat -L -c %i /proc/self/fd/3)" = "$(stat -L -c %i /proc/self/ns/net)" ] ||
            nsenter --net=/proc/self/fd/3 ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev lo nud permanent
    } 3<"$1/ns/net"
}

# ask_for_nothing SPACE: for some milliseconds, ask Docker's resolver in this namespace for a name that cannot exist (RFC
# 6761), type A.
ask_for_nothing() {
    # shellcheck disable=SC2016 # bash's
    nsenter --net="$1" bash -c 'exec 4<> <(:)
        for _ in 1 2 3 4 5 6; do
            printf "\1\1\1\0\0\1\0\0\0\0\0\0\10overlays\7invalid\0\0\1\0\1" >/dev/udp/127.0.0.11/53
            read -rt 0.002 <&4
        done
        exit 0'
}

