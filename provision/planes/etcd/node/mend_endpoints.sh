# Free endpoints without a container, and correct wrong numbers of endpoints. POSIX sh.

# read_store: set `known` to the endpoints in the store, and `unclaimed` to those of this host that seem to be without a
# container. Free those that were unclaimed at the last reading too. Without a quorum nothing changes.
read_store() {
    fresh=$(listed) || return 0
    known=$fresh right=''
    unclaimed_before=$unclaimed
    unclaimed=$(empty "$own")
    while read -r line; do
        # shellcheck disable=SC2086 # a word a field
        [ -z "$line" ] || ! is_line "$line" "$unclaimed_before" || free $line
    done <<EOF
$unclaimed
EOF
}

# empty ADDRESS: print the endpoints in `known` of the host with this address, whose sandbox has no process: `NETWORK NAME
# ID`.
empty() {
    {
        stat -L -c 'process %i' /proc/[0-9]*/ns/net
        stat -L -c 'space %i %n' "$spaces"/*
        printf '%s\n' "$known"
    } 2>/dev/null | awk -v own="$1" '
    $1 == "process" { lived[$2] }
    $1 == "space" && $2 in lived { sub(".*/", "", $3); used[$3] }
    $1 == "endpoint" && $5 == own && !(substr($8, 1, 12) in used) { print $2, $6, $7 }'
}

# free NETWORK NAME ID: free an endpoint, unless a container here, running or not, has it. (Docker answers late while such a
# container starts.) Docker frees an endpoint by its name only if no container here has that name: so a container of that
# name is renamed for a moment. Nothing is done if the name is also the beginning of a container's ID.
free() {
    [ -e "$joined" ] && containers=$(docker ps -a --no-trunc --format "$listed_id") || return 0
    claimed=
    # shellcheck disable=SC2086 # a word a container
    [ -z "$containers" ] || claimed=$(docker inspect -f \
        '{{range .NetworkSettings.Networks}}{{println .EndpointID}}{{end}}' $containers) || return 0
    ! is_line "$3" "$claimed" && store --total-timeout 3s get --quorum "$endpoints_key/$1/$3" >/dev/null || return 0
    owner=$(docker ps -aq --no-trunc -f "name=^/$(printf %s "$2" | sed 's/\./\\./g')\$") || return 0
    [ -z "$owner" ] || docker rename "$owner" "$2$aside" || return 0
    if ! docker container inspect "$2" >/dev/null && docker network disconnect --force "$1" "$2"; then
        printf 'freed: an endpoint of %s on network %.12s, which no container here has\n' "$2" "$1"
    fi
    [ -z "$owner" ] || docker rename "$owner" "$2"
} 2>/dev/null

# counts: print each network's number of endpoints in the store, with the index of its last change: `count NETWORK INDEX
# NUMBER`.
counts() {
    answer=$(store --total-timeout 3s -o json ls --recursive --quorum "$counts_key") || return
    printf '%s\n' "$answer" | sed 's/"key":/\n&/g' | tr -d '\134' | sed -n \
        's|^"key":"'"$counts_key"'/\([0-9a-f]*\)","value":"{"Count":\([0-9]*\)}".*"modifiedIndex":\([0-9]*\).*|count \1 \3 \2|p'
}

# recount: correct the number of endpoints of networks for which it was wrong at the last recount too, unchanged since.
recount() {
    miscounted_before=$miscounted miscounted=
    listed=$(listed) && numbers=$(counts) || return 0
    miscounted=$(printf '%s\n%s\n' "$listed" "$numbers" | miscounts)
    while read -r network index number right_one; do
        [ "$network" ] || continue
        is_line "$network $index $number $right_one" "$miscounted_before" || continue
        store set --swap-with-value "{\"Count\":$number}" "$counts_key/$network" "{\"Count\":$right_one}" >/dev/null || continue
        printf 'recounted: network %.12s has %s endpoints, not %s\n' "$network" "$right_one" "$number"
    done <<EOF
$miscounted
EOF
}

# miscounts < endpoints, counts: print the networks whose number differs from that of their endpoints: `NETWORK INDEX NUMBER
# ENDPOINTS`.
miscounts() {
    awk '$1 == "endpoint" { found[$2]++ } $1 == "count" && found[$2] + 0 != $4 { print $2, $3, $4, found[$2] + 0 }'
}

