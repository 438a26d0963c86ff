# End connections between the managers that are of no use any more. POSIX sh.
#
# What a host does not acknowledge is sent again, each time after twice the wait. When a link is whole again that was cut for
# a minute, the kernel may wait for another minute, and the managers elect no leader: their messages wait in that
# connection. When it is ended, Docker connects anew at once.

# overdue < CONNECTIONS: print `OWN OTHER` for each connection, as ss prints it, on which something was sent again and again.
overdue() {
    while read -r _ _ own_end other_end timer; do
        case $timer in "timer:(on,"*) ;; *) continue ;; esac
        repeated=${timer##*,}
        [ "${repeated%%[!0-9]*}" -lt "$repeats" ] || printf '%s %s\n' "$own_end" "$other_end"
    done
}

# end_overdue: end those connections whose other end answers again, and say so.
end_overdue() {
    waiting=$(ss -Hnto state established "( sport = :$managers_port or dport = :$managers_port )" 2>/dev/null | overdue)
    [ "$waiting" ] || return 0
    while read -r own_end other_end; do
        listens "${other_end%:*}" || continue
        ss -K -Hnt state established src "$own_end" dst "$other_end" 2>/dev/null | grep -q . || continue
        say "ended: the connection of $own_end with $other_end, in which messages of Docker's managers waited"
    done <<END
$waiting
END
}

