# Endpoints that no container has, and numbers of endpoints that are wrong. POSIX sh.

# read_store: sets `known`, and `unclaimed` to endpoints that no container here seems to have; frees those that were so at
# the last reading too. Without a quorum what was known holds.
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

# empty ADDRESS: of the endpoints in `known` that are this host's, those in whose sandbox no process is: `NETWORK NAME ID`.
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

# free NETWORK NAME ID: unless a container here has it, of whatever state. Docker waits with its answer while one starts.
# Docker frees by name, where no container here has the name: such a one gives it away for a moment. A name may also be the
# beginning of somebody's ID: then nothing is done.
free() {
    [ -e "$joined" ] && containers=$(docker ps -aq --no-trunc) || return 0
    # shellcheck disable=SC2086 # a word a container
    claimed=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{println .EndpointID}}{{end}}' $containers) || return 0
    ! is_line "$3" "$claimed" && store --total-timeout 3s get --quorum "$endpoints_key/$1/$3" >/dev/null || return 0
    owner=$(docker ps -aq --no-trunc -f "name=^/$(printf %s "$2" | sed 's/\./\\./g')\$") || return 0
    [ -z "$owner" ] || docker rename "$owner" "$2$aside" || return 0
    if ! docker container inspect "$2" >/dev/null && docker network disconnect --force "$1" "$2"; then
        printf 'freed: an endpoint of %s on network %.12s, which no container here has\n' "$2" "$1"
    fi
    [ -z "$owner" ] || docker rename "$owner" "$2"
} 2>/dev/null

# put_names_back: of a unit that was ended while a name was set aside.
put_names_back() {
    docker ps -a --format '{{.Names}}' | while read -r name; do
        case $name in *"$aside") docker rename "$name" "${name%"$aside"}" ;; esac
    done
}

# counts: how many endpoints the store says a network has: `count NETWORK INDEX NUMBER`, the index that of its last change.
counts() {
    answer=$(store --total-timeout 3s -o json ls --recursive --quorum "$counts_key") || return
    printf '%s\n' "$answer" | sed 's/"key":/\n&/g' | tr -d '\134' | sed -n \
        's|^"key":"'"$counts_key"'/\([0-9a-f]*\)","value":"{"Count":\([0-9]*\)}".*"modifiedIndex":\([0-9]*\).*|count \1 \3 \2|p'
}

# recount: of networks whose number was another than that of their endpoints at the last recount too, with no change since.
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

# miscounts < endpoints, counts: `NETWORK INDEX NUMBER ENDPOINTS` where the last two differ.
miscounts() {
    awk '$1 == "endpoint" { found[$2]++ } $1 == "count" && found[$2] + 0 != $4 { print $2, $3, $4, found[$2] + 0 }'
}

