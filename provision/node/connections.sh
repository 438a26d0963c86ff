# End connections that are of no use any more. POSIX sh.
#
# What a host does not acknowledge is sent again, each time after twice the wait. When a link is whole again that was cut for
# a minute, the kernel may wait for another minute. When the link of one of the two hosts carries smaller packets than it did,
# a larger one is sent for a quarter of an hour. Messages wait in such a connection. When it is ended, its program connects
# anew at once, and the two hosts agree on packets that both their links carry.
repeats=5 # times that something was sent again until its connection is ended: the next time is 6 s later or more

# overdue < CONNECTIONS: print `OWN OTHER` for each connection, as ss prints it, on which something was sent again and again.
overdue() {
    while read -r _ _ own_end other_end timer; do
        case $timer in "timer:(on,"*) ;; *) continue ;; esac
        repeated=${timer##*,}
        [ "${repeated%%[!0-9]*}" -lt "$repeats" ] || printf '%s %s\n' "$own_end" "$other_end"
    done
}

# end_overdue OF PORT…: end those connections to or from the ports whose other end answers again, and say so. `OF`: whose
# messages wait in them. The caller defines `listens ADDRESS`: succeed if the host at the address answers.
end_overdue() {
    whose=$1 filter=
    shift
    for port; do
        filter="$filter${filter:+ or }sport = :$port or dport = :$port"
    done
    waiting=$(ss -Hnto state established "( $filter )" 2>/dev/null | overdue)
    [ "$waiting" ] || return 0
    away=' '
    while read -r own_end other_end; do
        host=${other_end%:*}
        case $away in *" $host "*) continue ;; esac
        listens "$host" || { away="$away$host "; continue; }
        ss -K -Hnt state established src "$own_end" dst "$other_end" 2>/dev/null | grep -q . || continue
        printf 'ended: the connection of %s with %s, in which messages of %s waited\n' "$own_end" "$other_end" "$whose"
    done <<END
$waiting
END
}
