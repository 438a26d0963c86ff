# See when this host has lost peers on a network. POSIX sh.

# absent < NETWORK PEER…: print `NETWORK ADDRESS` for each other node that is not among a network's peers.
absent() {
    while read -r network peers; do
        while read -r address; do
            case " $own $peers " in *" $address "*) ;; *) printf '%s %s\n' "$network" "$address" ;; esac
        done <"$peers_file"
    done
}

# peers: print `NETWORK PEER…` for each network of the cluster: the addresses of the nodes that this dockerd sees there.
peers() {
    # shellcheck disable=SC2086 # a word a network
    docker network inspect --format '{{.Name}}{{range .Peers}} {{.IP}}{{end}}' $networks 2>/dev/null
}

# answering < NETWORK ADDRESS: print those lines whose node listens for gossip. A node that is off has no gossip to miss.
answering() {
    seen=$(cat)
    alive=$(for address in $(printf '%s\n' "$seen" | cut -d ' ' -f 2 | sort -u); do
        listens "$address" && printf '%s\n' "$address" &
    done; wait)
    printf '%s\n' "$seen" | while read -r network address; do
        ! is_line "$address" "$alive" || printf '%s %s\n' "$network" "$address"
    done
}

# listens ADDRESS: succeed if a dockerd there listens for gossip.
listens() {
    # shellcheck disable=SC2016 # bash expands $0 and $1
    timeout 2 bash -c ': 3<>"/dev/tcp/$0/$1"' "$1" "$gossip_port" 2>/dev/null
}

# record_others: record which containers each node has on the networks, a line `NAME HOST` each, as long as all nodes are there:
# gossip forgets those of a node that is lost.
record_others() {
    # shellcheck disable=SC2086 # a word a network
    found=$(docker network inspect -v --format '{{range .Services}}{{range .Tasks}}{{.Name}} {{index .Info "Host IP"}}
{{end}}{{end}}' $networks 2>/dev/null | sort -u | sed '/^$/d')
    [ -d "${others_record%/*}" ] && [ "$found" ] && [ "$found" != "$(cat "$others_record" 2>/dev/null)" ] || return 0
    (umask 077 && printf '%s\n' "$found" >"$others_record.new") && mv -f "$others_record.new" "$others_record"
}

# look_at_peers: say which nodes are missing among the peers in two looks, and which are back. `suspected`: the nodes missing
# since one look, `NETWORK ADDRESS SECONDS TIME`; `alone`: those of which it was said, `NETWORK ADDRESS SECONDS WARNED`. The
# seconds are those of `now` at the first look. Without an answer of Docker, nothing changes.
look_at_peers() {
    [ -r "$peers_file" ] && [ "$networks" ] || return 0
    answer=$(peers)
    [ "$answer" ] || return 0
    missing=$(printf '%s\n' "$answer" | absent)
    if [ "$missing" ] && [ -z "$own" ]; then # before this node is in a swarm, it has none
        own=$(docker info --format '{{.Swarm.NodeAddr}}' 2>/dev/null)
        missing=$(printf '%s\n' "$answer" | absent)
    fi
    [ "$missing" ] || record_others
    [ "$missing$suspected$alone" ] || return 0
    lost=
    [ -z "$missing" ] || lost=$(printf '%s\n' "$missing" | answering)
    look_again_at_alone
    suspect
}

# look_again_at_alone: say of the nodes in `alone` which are back, off, or missing for too long; keep the others there.
look_again_at_alone() {
    still=
    while read -r network address since warned; do
        [ "$network" ] || continue
        long=$((now - since))
        if ! is_line "$network $address" "$missing"; then
            say "found: $address again among the peers of $network, after $long s"
        elif ! is_line "$network $address" "$lost"; then
            say "gone: $address, which was missing from the peers of network $network for $long s, does not answer any more"
        else
            if [ "$warned" = no ] && [ "$long" -ge "$lasting" ]; then
                warned=yes
                say "still alone: $address has been missing from the peers of network $network for $long s, though it" \
                    "answers; restart Docker on this node: systemctl restart docker"
            fi
            still="$still
$network $address $since $warned"
        fi
    done <<EOF
$alone
EOF
    alone=$still
}

# suspect: say of the nodes in `lost` which were suspected already, and suspect the others.
suspect() {
    fresh=
    while read -r network address; do
        [ "$network" ] || continue
        case $alone in *"
$network $address "*) continue ;; esac
        case $suspected in
        *"
$network $address "*)
            since=${suspected#*"
$network $address "}
            at=${since#* }
            at=${at%%[!0-9:]*}
            alone="$alone
$network $address ${since%% *} no"
            say "alone: $address is missing from the peers of network $network, since $at or earlier"
            ;;
        *)
            fresh="$fresh
$network $address $now $(date +%H:%M:%S)"
            ;;
        esac
    done <<EOF
$lost
EOF
    suspected=$fresh
}

# is_soon_over: succeed if peers are missing that may come back soon, or may not be missing at all.
is_soon_over() {
    [ "$suspected" ] || printf '%s\n' "$alone" | grep -q ' no$'
}

