# Rows of a network's namespace that contradict the store, written anew. POSIX sh.

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
        printf 'network %s\n' "${space##*-}"
        nsenter --net="$space" ip neigh show nud permanent 2>/dev/null
    done
}

# living: `space SPACE INODE` of each namespace: another one may come to have its name.
living() {
    stat -L -c 'space %n %i' "$spaces"/*-* 2>/dev/null
}

# have_been < living, had, rows: `had INODE MAC` of each row that is there or was, in a namespace that lives.
have_been() {
    awk '
    $1 == "space" { inode[$2] = $3; lives[$3] }
    $1 == "network" { here = inode[$3] }
    $1 == "had" && $2 in lives && !seen[$2, $3]++
    / dst / && / self/ && here && !seen[here, $1]++ { print "had", here, $1 }'
}

# wrong ADDRESS < endpoints, living, had, rows, neighbours: a line for each container that packets from here may miss:
# `SPACE DEVICE MAC ADDRESS HOST NAME NETWORK ID WAS`. Where two claim one address nothing is said. A row that is missing is
# asked for by Docker with the first packet; but not where there was one in this namespace, or where its neighbour's row is
# there: Docker may still take it for written.
#
# A container of this host must have no row, nor be one that the bridge takes for behind the tunnel (it may: the tunnel's
# end answers ARP for every neighbour in its table, and may be the last to answer). Then the bridge sends its packets there,
# and a row brings them back out of the tunnel, where the bridge takes their sender for behind the tunnel, too: the two are
# lost to each other for as long as they talk. Without a row one that sends nothing by itself is lost.
wrong() {
    awk -v own="$1" '
    $1 == "endpoint" {
        network = substr($2, 1, 10); one = network SUBSEP $3; place = network SUBSEP $4
        if (one in host && host[one] != $5) claimed[one]
        if (place in mac_of && mac_of[place] != $3) { claimed[one]; claimed[network, mac_of[place]] }
        network_of[one] = $2; mac_of[place] = $3
        address[one] = $4; host[one] = $5; name[one] = $6; id[one] = $7; joined[one] = $8
    }
    $1 == "space" { inode_of[$2] = $3 }
    $1 == "had" { had[$2, $3] }
    $1 == "network" { network = $2; at_space = $3 }
    at_space && $2 == "dev" && $3 ~ /^vxlan/ {
        space[network] = at_space; inode[network] = inode_of[at_space]
        if (!((network, $3) in devices)) { devices[network, $3]; device[network] = $3; number[network]++ }
    }
    $3 ~ /^vxlan/ && / master / && !/ permanent/ { behind[network, $1]; at[network, $1] = $3 }
    / dst / && / self/ {
        for (i = 2; i < NF; i++) if ($i == "dst") to[network, $1] = $(i + 1)
        at[network, $1] = $3
    }
    $4 == "lladdr" && $NF == "PERMANENT" {
        mac = mac_of[network, $1]
        if (mac && mac != $5) other[network, mac] = $5
        if (mac && mac == $5) near[network, mac]
    }
    END {
        for (one in host) {
            split(one, key, SUBSEP)
            if (one in claimed || !(key[1] in space)) continue
            remote = host[one] != own
            was = ""
            # Which of several subnets a missing row belongs to is not told here: none is taken away there.
            alone = number[key[1]] == 1
            if (!remote) was = one in to && alone ? to[one] : one in behind ? "tunnel" : ""
            else if (!(one in to)) {
                if (joined[one] && alone && ((inode[key[1]], key[2]) in had || one in near)) was = "nothing"
            }
            else if (to[one] != host[one]) was = to[one]
            else was = other[one]
            if (was) print space[key[1]], one in at ? at[one] : device[key[1]], key[2], address[one], host[one], name[one],
                network_of[one], id[one], was
        }
    }'
}

# mend SPACE DEVICE MAC ADDRESS HOST NAME NETWORK ID WAS: write the rows, or take those of a container of this host away. Right
# rows over right ones cost no packet. The neighbour's row stays: without it Docker writes both again.
mend() {
    # shellcheck disable=SC2016 # the inner shell's
    {
        change='bridge fdb replace "$2" dev "$1" dst "$4" self permanent &&
            ip neigh replace "$3" lladdr "$2" dev "$1" nud permanent'
        [ "$5" != "$own" ] || change='[ "$5" = tunnel ] || bridge fdb del "$2" dev "$1" self
            bridge fdb del "$2" dev "$1" master 2>/dev/null || :'
    }
    nsenter --net="$1" sh -c "$change" sh "$2" "$3" "$4" "$5" "$9" || return 0
    count=0
    [ ! -r "$count_file" ] || read -r count <"$count_file"
    printf '%s\n' $((count + 1)) >"$count_file.new" && mv -f "$count_file.new" "$count_file"
    place="on host $5"
    [ "$5" != "$own" ] || place='here, and needs no row'
    printf 'mended: %s (%s, %s) on network %.12s is %s; the row here said %s\n' "$6" "$4" "$3" "$7" "$place" "$9"
}

# look: sets `found` to what is wrong, and mends what was wrong at the last look too. Sets `right` to rows that need no look,
# and `had` to those that were there in the namespaces of now.
look() {
    seen=$(rows)
    [ "$seen" != "$right" ] || return 0
    wrong_before=$found right=
    spaces_now=$(living)
    found=$(printf '%s\n' "$known" "$spaces_now" "$had" "$seen" "$(neighbours)" | wrong "$own")
    [ "$found" ] || right=$seen
    had=$(printf '%s\n' "$spaces_now" "$had" "$seen" | have_been)
    while read -r line; do
        # shellcheck disable=SC2086 # a word a field
        [ -z "$line" ] || ! is_line "$line" "$wrong_before" || mend $line
    done <<EOF
$found
EOF
}

