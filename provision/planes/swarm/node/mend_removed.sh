# Leave a swarm that has struck this host off its list. POSIX sh; former_swarm.sh comes before it.
#
# A host may be given up while it is off: the others go on without it. Several such hosts that are back at once may be a majority
# of the swarm that they remember, and rule it beside the others. But their managers ask the others too, and are told that they
# were removed. What they hold of that swarm is kept, and `provision` lets them join the others.

# struck_off: print this host's ID in the swarm if a manager has said within the last half minute that it was removed.
struck_off() {
    root=$(print_recorded | sed -n 's/^root[[:space:]]//p')
    certificate=${root:-/var/lib/docker}/swarm/certificates/swarm-node.crt
    [ -r "$certificate" ] || return 0
    removed=$(journalctl -u docker.service -o cat -q --since=-30s 2>/dev/null |
        sed -n 's/.*Permission denied: node \([a-z0-9]*\) was removed from swarm.*/\1/p' | tail -n 1)
    [ -z "$removed" ] || ! sed '/^-.*END/q; /^-/d' "$certificate" | sed '/^-/d' | base64 -d 2>/dev/null | grep -qF "$removed" ||
        printf '%s\n' "$removed"
}

# leave_if_struck_off: leave the swarm then.
leave_if_struck_off() {
    mine=$(struck_off)
    [ "$mine" ] || return 0
    kept=${containers_record%/*}/former-swarms/$mine
    if leave_swarm "$kept"; then
        say "left: the swarm that this host was removed from while it was away. Its data is in $kept; fab provision lets the" \
            "host join anew"
    fi
}
