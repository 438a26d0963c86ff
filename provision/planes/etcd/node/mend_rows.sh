# Correct the rows of a network's namespace that contradict the store. POSIX sh.

# rows: print `network ID SPACE` (ID: the beginning of the network's ID) for each network with containers here, followed by
# its forwarding database. A namespace that is gone leaves a plain file, which has none.
rows() {
    for space in "$spaces"/*-*; do
        printf 'network %s %s\n' "${space##*-}" "$space"
        nsenter --net="$space" bridge fdb show 2>/dev/null
    done
}

# neighbours: print `network ID` for each network, followed by its neighbour table.
neighbours() {
    for space in "$spaces"/*-*; do
        printf 'network %s\n' "${space##*-}"
        nsenter --net="$space" ip neigh show nud permanent 2>/dev/null
    done
}

# living: print `space SPACE INODE` for each namespace. The inode tells it from a later namespace of the same name.
living() {
    stat -L -c 'space %n %i' "$spaces"/*-* 2>/dev/null
}

# have_been < living, had, rows: print `had INODE MAC` for each row that exists, or existed before, in a living namespace.
have_been() {
    awk '
    $1 == "space" { inode[$2] = $3; lives[$3] }
    $1 == "network" { here = inode[$3] }
    $1 == "had" && $2 in lives && !seen[$2, $3]++
    / dst / && / self/ && here && !seen[here, $1]++ { print "had", here, $1 }'
}

# wrong ADDRESS < endpoints, living, had, rows, neighbours: print a line for each container that packets from here may miss:
# `SPACE DEVICE MAC ADDRESS HOST NAME NETWORK ID WAS`. ADDRESS is this host's. If two endpoints claim one address, neither is
# printed. A missing row is usually no error, because Docker asks for it with the first packet. It is an error if the row
# existed before in this namespace, or if the neighbour table has the container: Docker may believe that the row exists.
#
# A container of this host must have no row, and the bridge must not place it behind the tunnel. (The bridge may do so: the
# tunnel's end answers ARP for every neighbour in its table, and its answer may be the last.) Otherwise the bridge sends the
# container's packets into the tunnel. With a row they come back out of the tunnel, and the bridge then places their sender
# behind the tunnel too: the two containers lose each other as long as they send. Without a row, a container that sends
# nothing by itself is lost.
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
            # With several subnets it is unknown to which one a missing row belongs: no row is added or removed then.
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

# mend SPACE DEVICE MAC ADDRESS HOST NAME NETWORK ID WAS: write a container's rows, or remove the row of a container of this
# host. Writing a correct row again loses no packet. The row in the neighbour table stays: without it, Docker would write
# both rows again.
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

# look: set `found` to what is wrong, and mend what was wrong at the last look too. Set `right` to the rows if nothing is
# wrong, so that unchanged rows need no look, and `had` to the rows that existed in today's namespaces.
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

