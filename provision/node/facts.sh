# What a node tells of itself: tab-separated lines on standard output. POSIX sh; changes nothing but stamps.
active=' ' # units that run, once fact_units has seen them

# fact_encoded NAME KEY… < text: any text on one line.
fact_encoded() {
    fact "$@" "$(base64 -w 0)"
}

# holds_something FOLDER
holds_something() {
    for entry in "$1"/* "$1"/.[!.]*; do
        [ ! -e "$entry" ] && [ ! -h "$entry" ] || return 0
    done
    return 1
}

# fact_addresses: each address, and the MTU of the interface that has it.
fact_addresses() {
    ip -4 address 2>/dev/null | while read -r key one rest; do
        case "$key $rest" in
        'inet '*) fact address "${one%/*}" "$mtu" ;;
        *' mtu '*) mtu=${rest#*mtu } mtu=${mtu%% *} ;;
        esac
    done
}

# fact_sources ADDRESS…: the address of ours from which packets to each go.
fact_sources() {
    for neighbour; do
        route=$(ip -o -4 route get "$neighbour" 2>/dev/null)
        case $route in *' src '*) route=${route#* src } && fact source "$neighbour" "${route%% *}" ;; esac
    done
}

# fact_resolvers FILE…: the name servers of each that is there.
fact_resolvers() {
    for file; do
        [ ! -r "$file" ] || while read -r key one _ || [ "$key" ]; do
            [ "$key" != nameserver ] || fact resolver "$one"
        done <"$file"
    done
}

# fact_spaces PATH…: where the file system of each is mounted, its free bytes and options; of one that is not there yet,
# those of the folder it will come into.
fact_spaces() {
    for path; do
        there=$path
        while [ ! -e "$there" ]; do
            case $there in
            */?*) there=${there%/*} ;;
            *) there= ;;
            esac
            there=${there:-/}
        done
        fact space "$path" "$(findmnt -nrbo TARGET,AVAIL,OPTIONS -T "$there" 2>/dev/null)"
    done
}

# fact_paths PATH…: kind, mode, owner and group of each that exists; the target of links.
fact_paths() {
    stat -c "stat$tab%n$tab%F$tab%a$tab%U:%G" -- "$@" 2>/dev/null
    for path; do
        [ ! -h "$path" ] || fact link "$path" "$(readlink "$path")"
    done
}

# fact_hashes PATH…: sha256 of each that is a file.
fact_hashes() {
    sha256sum -- "$@" 2>/dev/null | while read -r sum path; do fact hash "$path" "$sum"; done
}

# fact_texts PATH…: the content of each that is a file, for diffs, in one archive. Never called for a secret.
fact_texts() {
    for path; do
        [ ! -f "$path" ] || set -- "$@" "$path"
        shift
    done
    [ $# = 0 ] || fact texts "$(tar -chf - -- "$@" 2>/dev/null | base64 -w 0)"
}

# fact_large PATH…: sha256 of each that is a file; from its stamp where nobody has touched it since.
fact_large() {
    for path; do
        [ ! -f "$path" ] || stamped hash "$path" || fact_hashes "$path"
    done
}

# fact_units UNIT…: state, enablement, and the hashes of the files it was last started on. Leaves in $active which are.
fact_units() {
    active=' '
    shown=$(systemctl show -p Id -p ActiveState -p UnitFileState -p MainPID "$@" 2>/dev/null)
    while IFS='=' read -r key value; do
        case $key in
        '') fact unit next ;;
        Id) name=$value ;;
        ActiveState) [ "$value" != active ] || active="$active$name " ;;
        esac
        [ -z "$key" ] || fact unit "$key" "$value"
    done <<EOF
$shown
EOF
    for unit; do
        inputs=/run/overlay-provision/$unit.inputs
        [ ! -f "$inputs" ] || while read -r sum path; do fact input "$unit" "$path" "$sum"; done <"$inputs"
    done
}

# is_active UNIT: as fact_units saw it.
is_active() {
    case $active in *" $1 "*) ;; *) return 1 ;; esac
}

# fact_ports PORT…: who listens on each, tcp and udp.
fact_ports() {
    command -v ss >/dev/null || return 0
    for port; do filter="${filter:+$filter or }sport = :$port"; done
    ss -H -lntup "( $filter )" 2>/dev/null | while read -r protocol _ _ _ local _ users; do
        fact port "$protocol" "$local" "${users:-unknown}"
    done
}

# fact_tables TABLE…: whether nft works here; each of ours that is in the kernel as its unit has loaded it.
fact_tables() {
    nft list tables >/dev/null 2>&1 || return 0
    fact value nft yes
    for table; do
        listed=$(nft -s list table inet "$table" 2>/dev/null | sha256sum)
        [ "$listed" != "$(line_of "/run/overlay-provision/$table.loaded")" ] || fact table "$table"
    done
}

# fact_docker PATH…: what Docker's API answers to a GET of each, as it came: one process for all of them. Bounded: a
# daemon that waits for its store answers nobody. After the last question the daemon takes the end of our input for
# a caller that has gone: the ping is there to be lost.
fact_docker() {
    is_active docker.service && command -v docker >/dev/null || return 0
    fact docker "$(
        for path in "$@" /_ping; do printf 'GET %s HTTP/1.1\r\nHost: docker\r\n\r\n' "$path"; done |
            timeout 5 docker system dial-stdio 2>/dev/null | base64 -w 0
    )" "$@"
}
