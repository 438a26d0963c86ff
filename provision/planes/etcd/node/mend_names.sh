# Let dockerd read a network's names again if it does not know one of them. POSIX sh.

# check_names: let dockerd read the names again of networks where a name was unknown at the last check too. A name that was
# known once is not checked again, until dockerd is started anew.
check_names() {
    unknown_before=$unknown unknown=
    [ "$(cat "$pidfile")" = "$names_of" ] || names_of=$(cat "$pidfile") heard=
    while read -r space network id address word; do
        [ "$space" ] || continue
        if answers "$space" "$word" "$address"; then
            heard="$heard
$id $word"
            continue
        fi
        unknown="$unknown
$network $id $word"
        ! is_line "$network $id $word" "$unknown_before" || announce "$network" "$word" "$address"
    done <<EOF
$(printf '%s\n' "$heard" "$known" | unheard "$own")
EOF
} 2>/dev/null

# unheard ADDRESS < names that were heard, endpoints: print `SPACE NETWORK ID ADDRESS WORD` for each other name of a
# container that is not on the host with this address, if this host can be asked: it has a container on that network alone.
unheard() {
    awk -v own="$1" -v spaces="$spaces" '
    NF == 2 { heard[$1, $2] }
    $1 == "endpoint" && $5 == own && $8 { networks[$8]++; network[$8] = $2 }
    $1 == "name" { name[$3, $6] = $2 " " $3 " " $5 " " $6; there[$3, $6] = $2; host[$3, $6] = $4 }
    END {
        for (one in networks) if (networks[one] == 1) space[network[one]] = spaces "/" substr(one, 1, 12)
        for (one in name)
            if (host[one] != own && !(one in heard) && there[one] in space) print space[there[one]], name[one]
    }'
}

# answers SPACE NAME ADDRESS: succeed if Docker's resolver in this namespace has the address for the name: type A. A name may
# contain a byte 10 in a query, at which bash would send two packets: so dd sends it.
answers() {
    # shellcheck disable=SC2046 # a word a number
    wanted=$(printf ' %02x' $(printf %s "$3" | tr . ' '))
    # shellcheck disable=SC2016 # bash's
    nsenter --net="$1" bash -c 'rest=$1. query=
        while [ "$rest" ]; do
            label=${rest%%.*} rest=${rest#*.}
            query+=$(printf "\\%03o%s" "${#label}" "$label")
        done
        exec 4<>/dev/udp/127.0.0.11/53
        printf "\1\1\1\0\0\1\0\0\0\0\0\0$query\0\0\1\0\1" | dd bs=512 iflag=fullblock >&4
        timeout 0.5 dd bs=512 count=1 <&4 | od -A n -v -t x1 | tr -d "\n"' bash "$2" | grep -q " 00 04$wanted"
}

# announce NETWORK NAME ADDRESS: let every dockerd read the network's endpoints again: they do so when the number of its
# endpoints is written. Docker does the same when a container is renamed.
announce() {
    number=$(store --total-timeout 3s get --quorum "$counts_key/$1") || return 0
    store set --swap-with-value "$number" "$counts_key/$1" "$number" >/dev/null || return 0
    printf 'announced: the names on network %.12s; %s (%s) was unknown here\n' "$1" "$2" "$3"
}

