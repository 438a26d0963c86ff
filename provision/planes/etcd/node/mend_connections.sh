# End connections of the store that are of no use any more. POSIX sh.

# drop_useless: end this host's connections to members that do not answer, and those in which messages wait. Most looks find
# neither.
drop_useless() {
    useless=$(useless <"$connections")
    for one in $useless; do
        case $one in
        overdue) end_overdue "the store" "$store_port" "$peer_port" ;;
        *) drop_silent "$(address_of "$one")" ;;
        esac
    done
}

# useless < /proc/net/tcp: look at established connections (01). Print the address, as the kernel shows it, of each member that
# leaves probes of a connection unanswered: the kernel shows their number. Print `overdue` if on a connection of the store
# something was sent again and again: the kernel shows the timer of the next time (01), and the number of times.
useless() {
    awk -v store="$(printf ':%04X$' "$store_port")" -v ports="$(printf ':(%04X|%04X)$' "$store_port" "$peer_port")" \
        -v repeats="$(printf '%08X' "$repeats")" '$4 != "01" { next }
    $6 ~ /^01/ && $7 "" >= repeats "" && ($2 ~ ports || $3 ~ ports) && !said++ { print "overdue" }
    $3 ~ store && $9 != 0 && !seen[$3]++ { sub(":.*", "", $3); print $3 }'
}

# drop_silent ADDRESS: end this host's connections to a member that does not answer. The kernel tells how many keepalive
# probes of a connection are unanswered. Docker's client of the store waits for nine of them, one every 30 s, before it gives
# up. A change that the watch has missed is announced again: see mend_names.sh.
drop_silent() {
    ! is_listening "$1" "$store_port" || return 0
    ss -K -Hnt state established dst "$1" dport = ":$store_port" 2>/dev/null | grep -q . || return 0
    changed=yes
    printf 'dropped: connections to the store at %s, which does not answer\n' "$1"
}

# address_of HEX: print the address that the kernel shows as a number, in the byte order of a little-endian host.
address_of() {
    number=$((0x$1))
    printf '%d.%d.%d.%d\n' $((number & 255)) $((number >> 8 & 255)) $((number >> 16 & 255)) $((number >> 24))
}

# listens ADDRESS: succeed if a dockerd there listens for gossip, or a member of the store for clients. A host that is silent
# (124, of timeout) is asked once.
listens() {
    is_listening "$1" "$gossip_port" || { [ "$?" -ne 124 ] && is_listening "$1" "$store_port"; }
}

# is_listening ADDRESS PORT: succeed if something answers there.
is_listening() {
    # shellcheck disable=SC2016 # bash expands them
    timeout 3 bash -c ': 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
}
