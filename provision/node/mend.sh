#!/bin/sh
# What Docker 20.10 gets wrong in ordinary life, mended for as long as this host runs. Written by overlay-provision. POSIX sh.
#
# Rows. Docker keeps a network's containers as rows in the network's namespace: the forwarding database says which host has
# a MAC address, the neighbour table which MAC address an IP address has. Docker never takes back a row that was written
# when two local containers talked, or when it had to ask other hosts. When that address moves to another host, the new
# place does not replace the old row, and the container is out of reach from here for good. The store knows where each
# container is: a row that says otherwise in two looks is written anew.
#
# Endpoints. A dockerd that cannot reach the store leaves a removed container's endpoint there, with its name and its
# address, in the way of all hosts. One that no container here has is freed.
#
# Threads. When the last container leaves a network, Docker's thread that watched the network stays in a namespace that is
# gone, and is used for other work there. It is brought home.
#
# mend watch   for good
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DOCKER_HOST=unix:///var/run/docker.sock
pki=${OVERLAY_PKI:-/etc/docker/overlay} # the variables are for tests
run=${OVERLAY_RUN:-/run/overlay-provision}
spaces=${OVERLAY_SPACES:-/run/docker/netns}
pidfile=/run/docker.pid
count_file=$run/mend.rows # how many rows were mended since the boot
aside=.overlay-join       # ends the name of a container while its endpoint is freed: docker-store puts it back
endpoints_key=/docker/network/v1.0/endpoint

quiet=8     # seconds between looks while nothing happens
settle=0.5  # from word of a change to the first look
again=0.7   # after a look that found something wrong
busy=1.5    # after one that found nothing wrong after a change
follow_up=3 # such looks
refresh=12  # quiet looks, after which the store is read again, whatever the watch has said

# store WORD...: a command of etcdctl at the store. Members and certificates are those of now.
store() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    endpoints=https://$(printf %s "${OVERLAY_STORE#etcd://}" | sed 's|,|,https://|g')
    ETCDCTL_API=2 etcdctl --endpoints "$endpoints" --ca-file "$pki/store-ca.crt" --cert-file "$pki/store.crt" \
        --key-file "$pki/store.key" --timeout 2s "$@" 2>/dev/null
}

docker() {
    timeout 20 docker "$@"
}

# is_line LINE TEXT
is_line() {
    case "
$2
" in *"
$1
"*) ;;
    *) return 1 ;;
    esac
}

# listed: the endpoints in the store: `endpoint NETWORK MAC ADDRESS HOST NAME ID SANDBOX`. Fails without a quorum.
listed() {
    answer=$(store --total-timeout 3s -o json ls --recursive --quorum "$endpoints_key") || return
    printf '%s\n' "$answer" | entries
}

# entries < JSON: etcd's, in which each endpoint is a JSON text, with its fields in the order of the alphabet.
entries() {
    id='[0-9a-f]*' address='[0-9.]*'
    sed 's/"key":/\n&/g' | tr -d '\134' | sed -n 's|^"key":"'"$endpoints_key/\($id\)/\($id\)"'","value":"{.*"ep_iface":{"addr":"\('"$address"'\)/.*"mac":"\([0-9a-f:]*\)".*"locator":"\('"$address"'\)".*"name":"\([^"]*\)".*"sandbox":"\('"$id"'\)".*|endpoint \1 \4 \3 \5 \6 \2 \7|p'
}

# rows: `network ID SPACE` (the ID's beginning) of each network with containers here, then its forwarding database. What is
# left of a namespace is a file, which has none.
rows() {
    for space in "$spaces"/*-*; do
        printf 'network %s %s\n' "${space##*-}" "$space"
        nsenter --net="$space" bridge fdb show 2>/dev/null
    done
}

# neighbours: likewise, and then its neighbour table.
neighbours() {
    for space in "$spaces"/*-*; do
        printf 'network %s %s\n' "${space##*-}" "$space"
        nsenter --net="$space" ip neigh show nud permanent 2>/dev/null
    done
}

# wrong ADDRESS < endpoints, rows, neighbours: a line for each container that packets from here would miss:
# `SPACE DEVICE MAC ADDRESS HOST NAME NETWORK ID WAS`. A container of this host needs no row. Of a MAC address that two hosts
# claim nothing is said.
wrong() {
    awk -v own="$1" '
    $1 == "endpoint" {
        one = substr($2, 1, 10) SUBSEP $3
        if (one in host && host[one] != $5) claimed[one]
        network_of[one] = $2; mac_of[substr($2, 1, 10), $4] = $3
        address[one] = $4; host[one] = $5; name[one] = $6; id[one] = $7; joined[one] = $8
    }
    $1 == "network" { network = $2; at_space = $3 }
    $2 == "dev" { space[network] = at_space }
    $2 == "dev" && $3 ~ /^vxlan/ && !((network, $3) in devices) { devices[network, $3]; device[network] = $3; number[network]++ }
    / dst / && / self/ {
        for (i = 2; i < NF; i++) if ($i == "dst") to[network, $1] = $(i + 1)
        at[network, $1] = $3
    }
    $4 == "lladdr" && $NF == "PERMANENT" { mac = mac_of[network, $1]; if (mac && mac != $5) other[network, mac] = $5 }
    END {
        for (one in host) {
            split(one, key, SUBSEP)
            if (one in claimed || !(key[1] in space)) continue
            remote = host[one] != own
            was = ""
            # Which of several subnets a row that is missing belongs to is not told here.
            if (!(one in to)) { if (remote && joined[one] && number[key[1]] == 1) was = "nothing" }
            else if (to[one] != host[one]) was = to[one]
            else if (remote) was = other[one]
            if (was) print space[key[1]], one in at ? at[one] : device[key[1]], key[2], address[one], host[one], name[one],
                network_of[one], id[one], was
        }
    }'
}

# mend SPACE DEVICE MAC ADDRESS HOST NAME NETWORK ID WAS: write the rows. Right ones over right ones cost no packet.
mend() {
    # shellcheck disable=SC2016 # the inner shell's
    nsenter --net="$1" sh -c 'bridge fdb replace "$2" dev "$1" dst "$4" self permanent &&
        ip neigh replace "$3" lladdr "$2" dev "$1" nud permanent' sh "$2" "$3" "$4" "$5" || return 0
    count=0
    [ ! -r "$count_file" ] || read -r count <"$count_file"
    printf '%s\n' $((count + 1)) >"$count_file.new" && mv -f "$count_file.new" "$count_file"
    printf 'mended: %s (%s, %s) on network %.12s is on host %s; the row here said %s\n' "$6" "$4" "$3" "$7" "$5" "$9"
}

# look: sets `found` to what is wrong, and mends what was wrong at the last look too. Sets `right` to rows that need no look.
look() {
    seen=$(rows)
    [ "$seen" != "$right" ] || return 0
    before=$found right=
    found=$(printf '%s\n%s\n%s\n' "$known" "$seen" "$(neighbours)" | wrong "$own")
    [ "$found" ] || right=$seen
    printf '%s\n' "$found" | while read -r line; do
        # shellcheck disable=SC2086 # a word a field
        [ -z "$line" ] || ! is_line "$line" "$before" || mend $line
    done
}

# read_store: sets `known`, and frees what was unclaimed at the last reading too. Without a quorum what was known holds.
read_store() {
    fresh=$(listed) || return 0
    [ "$fresh" = "$known" ] || known=$fresh right=
    before=$unclaimed
    unclaimed=$(unclaimed "$own")
    printf '%s\n' "$unclaimed" | while read -r line; do
        # shellcheck disable=SC2086 # a word a field
        [ -z "$line" ] || ! is_line "$line" "$before" || free $line
    done
}

# unclaimed ADDRESS: of the endpoints in `known` that are this host's, those in whose sandbox no process is: `NETWORK NAME ID`.
unclaimed() {
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
# Docker frees by name, where no container here has the name: such a one gives it away for a moment.
free() {
    containers=$(docker ps -aq --no-trunc) || return 0
    # shellcheck disable=SC2086 # a word a container
    claimed=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{println .EndpointID}}{{end}}' $containers) || return 0
    ! is_line "$3" "$claimed" && store --total-timeout 3s get --quorum "$endpoints_key/$1/$3" >/dev/null || return 0
    docker rename "$2" "$2$aside"
    ! docker network disconnect --force "$1" "$2" ||
        printf 'freed: an endpoint of %s on network %.12s, which no container here has\n' "$2" "$1"
    docker rename "$2$aside" "$2"
} 2>/dev/null

# strays: the threads of dockerd that are in the network namespace of nothing that runs.
strays() {
    process=$(cat "$pidfile" 2>/dev/null) || return 0
    {
        stat -L -c 'home %i' /proc/self/ns/net "$spaces"/*
        stat -L -c 'thread %i %n' "/proc/$process"/task/*/ns/net
    } 2>/dev/null | awk '
    $1 == "home" { home[$2] }
    $1 == "thread" && !($2 in home) { sub("/ns/net", "", $3); print $3 }'
}

# bring_home: libnetwork brings home each thread that it works on for a container's sake, for example to ask for a name that
# it does not know; and the thread that has just come back from watching is the next to be used. So it is called back into
# such work. One that came back long ago is reached where more are busy at once.
bring_home() {
    tries=0
    while there=$(strays) && [ "$there" ] && [ "$tries" -lt 20 ]; do
        [ -e "$keeper" ] || keeper=$(docker inspect -f '{{.NetworkSettings.SandboxKey}}' "$(a_keeper)")
        ask_for_nothing &
        asking=$!
        for thread in $there; do
            case $(cat "$thread/wchan") in __skb_wait*) call_back "$thread" ;; esac
        done
        [ $((tries % 10)) != 9 ] || for _ in 1 2; do docker exec "$(a_keeper)" true & done
        wait "$asking"
        tries=$((tries + 1))
        [ "$tries" -lt 3 ] || sleep 0.1
    done
} 2>/dev/null

a_keeper() {
    docker ps -q -f label=overlay-keeper | head -n 1
}

# call_back THREAD: it waits, for up to 3 s, for news of its namespace's neighbours: an address of documentation (RFC 5737).
call_back() {
    nsenter --net="$1/ns/net" ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev lo nud permanent
}

# ask_for_nothing: in a keeper's place, for a name that cannot be (RFC 6761), of type A, for some milliseconds.
ask_for_nothing() {
    # shellcheck disable=SC2016 # bash's
    nsenter --net="$keeper" bash -c 'exec 4<> <(:)
        for _ in 1 2 3 4 5 6; do
            printf "\1\1\1\0\0\1\0\0\0\0\0\0\10overlays\7invalid\0\0\1\0\1" >/dev/udp/127.0.0.11/53
            read -rt 0.002 <&4
        done'
}

# follow PROCESS: tell it of changes of the store. Where the watch ends, with a member for example, some were missed.
follow() {
    keeper=
    while :; do
        bring_home
        kill -USR1 "$1" || exit 0
        store watch --recursive --forever "$endpoints_key" | while read -r action _; do
            case $action in
            '[delete]' | '[compareAndDelete]') bring_home ;;
            '['*) ;;
            *) continue ;; # the value
            esac
            kill -USR1 "$1" || exit 0
        done
        sleep 3
    done
}

watch() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    own=${OVERLAY_ADVERTISE%:*}
    known='' right='' found='' unclaimed='' changed='' after=0 calm=0
    mkdir -p "$run"
    trap 'changed=yes' USR1
    follow $$ &
    follower=$!
    while kill -0 "$follower"; do
        if [ "$changed$unclaimed" ] || [ "$calm" -ge "$refresh" ]; then
            [ -z "$changed" ] || after=$follow_up
            changed='' calm=0
            read_store
        fi
        look
        if [ "$found$unclaimed" ]; then
            sleep "$again"
        elif [ "$after" -gt 0 ]; then
            after=$((after - 1))
            sleep "$busy"
        elif [ -z "$changed" ]; then
            calm=$((calm + 1))
            sleep "$quiet" &
            wait $!
            [ -z "$changed" ] || { kill $! 2>/dev/null; sleep "$settle"; }
        fi
    done
}

case ${1-} in
watch) watch ;;
*) echo "usage: mend watch" >&2; exit 2 ;;
esac
