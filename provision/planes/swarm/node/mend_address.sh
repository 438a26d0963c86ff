# Let a container that cannot start have another address. POSIX sh.
#
# The managers choose an address for a container that starts. If it fails to start after that (`network … not found`), Docker
# 28 keeps the address, and from then on asks for it as if the user had given it. The managers may give it to another
# meanwhile: then that container never starts again. An address that a container asks for is taken from it if somebody has
# that address; Docker then chooses one.

# asked_for ID: print `NETWORK ADDRESS ALIAS…` for each network on which a container asks for an address.
asked_for() {
    # shellcheck disable=SC2016 # $name and $on are Docker's
    docker inspect --format '{{range $name, $on := .NetworkSettings.Networks}}{{with $on.IPAMConfig}}{{if .IPv4Address}}{{$name}} {{.IPv4Address}}{{range $on.Aliases}} {{.}}{{end}}
{{end}}{{end}}{{end}}' "$1" 2>/dev/null
}

# is_taken NETWORK ADDRESS ID: succeed if the address answers to this network's keeper; for the keeper itself, if it could not
# be started.
is_taken() {
    keeper=$(docker ps -a --no-trunc --filter "label=overlay-keeper=$1" --format "$listed_id" 2>/dev/null | grep .)
    if [ "$keeper" = "$3" ]; then
        [ "$tries" -gt 0 ]
    else
        [ "$keeper" ] && docker exec "$keeper" ping -c 1 -W 1 "$2" >/dev/null 2>&1
    fi
}

# give_up_address ID NAME: take from a stopped container the addresses that it asks for and somebody has.
give_up_address() {
    asked_for "$1" | while read -r network address aliases; do
        is_line "$network" "$networks" || continue
        is_taken "$network" "$address" "$1" || continue
        options=
        for alias in $aliases; do options="$options --alias $alias"; done
        docker network disconnect "$network" "$1" >/dev/null 2>&1 || continue
        # shellcheck disable=SC2086 # words
        if docker network connect $options "$network" "$1" || docker network connect $options "$network" "$1"; then
            say "address: $2 does not ask any more for $address on network $network, which another has"
        else
            say "address: another has $address on network $network, and $2 is off the network now: docker network connect" \
                "$options $network $2"
        fi
    done
}

