# Print facts of a node: tab-separated lines on standard output. POSIX sh; writes nothing but stamps.
active=' ' # the units that run, set by fact_units

# fact_encoded NAME KEY… < text: print a text of any form as one line, in base64.
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

# fact_addresses: print each address, and the MTU of its interface.
fact_addresses() {
    ip -4 address 2>/dev/null | while read -r key one rest; do
        case "$key $rest" in
        'inet '*) fact address "${one%/*}" "$mtu" ;;
        *' mtu '*) mtu=${rest#*mtu } mtu=${mtu%% *} ;;
        esac
    done
}

# fact_sources ADDRESS…: for each address, print the source address of packets to it.
fact_sources() {
    for neighbour; do
        route=$(ip -o -4 route get "$neighbour" 2>/dev/null)
        case $route in *' src '*) route=${route#* src } && fact source "$neighbour" "${route%% *}" ;; esac
    done
}

# fact_resolvers FILE…: print the name servers in each file that exists.
fact_resolvers() {
    for file; do
        [ ! -r "$file" ] || while read -r key one _ || [ "$key" ]; do
            [ "$key" != nameserver ] || fact resolver "$one"
        done <"$file"
    done
}

# fact_spaces PATH…: for each path, print the mount point, free bytes and options of its file system. For a path that does
# not exist, its nearest existing parent counts.
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

# fact_paths PATH…: print kind, mode, owner and group of each path that exists, and the target of each link.
fact_paths() {
    stat -c "stat$tab%n$tab%F$tab%a$tab%U:%G" -- "$@" 2>/dev/null
    for path; do
        [ ! -h "$path" ] || fact link "$path" "$(readlink "$path")"
    done
}

# fact_hashes PATH…: print the sha256 of each file.
fact_hashes() {
    sha256sum -- "$@" 2>/dev/null | while read -r sum path; do fact hash "$path" "$sum"; done
}

# fact_texts PATH…: print the content of all files, for diffs, as one archive. Never call it for a secret.
fact_texts() {
    for path; do
        [ ! -f "$path" ] || set -- "$@" "$path"
        shift
    done
    [ $# = 0 ] || fact texts "$(tar -chf - -- "$@" 2>/dev/null | base64 -w 0)"
}

# fact_large PATH…: print the sha256 of each file, from its stamp if the file is unchanged.
fact_large() {
    for path; do
        [ ! -f "$path" ] || stamped hash "$path" || fact_hashes "$path"
    done
}

# fact_units UNIT…: print each unit's state, enablement, and the hashes of its input files at the last start. Set $active.
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

# is_active UNIT: succeed if the unit was active when fact_units ran.
is_active() {
    case $active in *" $1 "*) ;; *) return 1 ;; esac
}

# tries_a_port USERS: succeed if this process of ss's list listens for a port matrix, of this or of another run.
tries_a_port() {
    case $1 in *'("systemd-socket'* | *'("cat"'*) ;; *) return 1 ;; esac
    process=${1#*pid=}
    case $(readlink "/proc/${process%%,*}/fd/2") in /run/overlay-provision.ports.*) ;; *) return 1 ;; esac
}

# fact_ports PORT…: print the listeners on each port, TCP and UDP, with their processes.
fact_ports() {
    command -v ss >/dev/null || return 0
    for port; do filter="${filter:+$filter or }sport = :$port"; done
    ss -H -lntup "( $filter )" 2>/dev/null | while read -r protocol _ _ _ local _ users; do
        tries_a_port "$users" || fact port "$protocol" "$local" "${users:-unknown}"
    done
}

# fact_tables TABLE…: print whether nft works, and each of our tables that is in the kernel as its unit loaded it.
fact_tables() {
    nft list tables >/dev/null 2>&1 || return 0
    fact value nft yes
    for table; do
        listed=$(nft -s list table inet "$table" 2>/dev/null | sha256sum)
        [ "$listed" != "$(line_of "/run/overlay-provision/$table.loaded")" ] || fact table "$table"
    done
}

# fact_docker PATH…: print the raw answers of Docker's API to a GET of each path. One process asks them all. The time limit
# is for a dockerd that waits for its store and answers no request. Our input must not end before the answers: when it ends,
# dockerd takes its client for gone, and cancels what it is doing. After the last answer dockerd closes the connection; GNU
# tail notices at once that nobody reads its output any more.
fact_docker() {
    is_active docker.service && command -v docker >/dev/null || return 0
    fact docker "$(
        {
            for path in "$@"; do printf 'GET %s HTTP/1.1\r\nHost: docker\r\n\r\n' "$path"; done
            printf 'GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n'
            timeout 5 tail -f -s 0.02 /dev/null
        } 2>/dev/null | timeout 5 docker system dial-stdio 2>/dev/null | base64 -w 0
    )" "$@"
}
