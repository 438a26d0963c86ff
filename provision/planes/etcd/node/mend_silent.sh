# End connections to members of the store that have gone silent. POSIX sh.

# drop_silent: end this host's connections to each member that does not answer. The kernel tells how many keepalive probes of
# a connection are unanswered. Docker's client of the store waits for nine of them, one every 30 s, before it gives up. A
# change that the watch has missed is announced again: see mend_names.sh.
drop_silent() {
    for peer in $(silent_peers <"$connections"); do
        member=$(address_of "$peer")
        ! is_listening "$member" || continue
        ss -K -Hnt state established dst "$member" dport = ":$store_port" 2>/dev/null | grep -q . || continue
        changed=yes
        printf 'dropped: connections to the store at %s, which does not answer\n' "$member"
    done
}

# silent_peers < /proc/net/tcp: print the addresses, as the kernel shows them, of members that a connection's probes do not
# reach: of established connections (01), those with a number of unanswered probes.
silent_peers() {
    awk -v port="$(printf ':%04X$' "$store_port")" '$3 ~ port && $4 == "01" && $9 != 0 {
        sub(":.*", "", $3)
        if (!seen[$3]++) print $3
    }'
}

# address_of HEX: print the address that the kernel shows as a number, in the byte order of a little-endian host.
address_of() {
    number=$((0x$1))
    printf '%d.%d.%d.%d\n' $((number & 255)) $((number >> 8 & 255)) $((number >> 16 & 255)) $((number >> 24))
}

# is_listening ADDRESS: succeed if a member of the store answers there.
is_listening() {
    # shellcheck disable=SC2016 # bash expands them
    timeout 3 bash -c ': 3<>"/dev/tcp/$0/$1"' "$1" "$store_port" 2>/dev/null
}

