# Print facts of a node: tab-separated lines on standard output. POSIX sh; writes nothing but stamps.
active=' '       # the units that run, set by fact_units
dockerd_process= # the process of docker.service, set by fact_units
proc=${OVERLAY_PROC:-/proc} # the variable is for tests

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

# fact_spaces PATH…: for each path, print the mount point, free bytes and options of its file system, and all and free
# inodes. For a path that does not exist, its nearest existing parent counts.
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
        fact space "$path" "$(findmnt -nrbo TARGET,AVAIL,OPTIONS -T "$there" 2>/dev/null)" \
            "$(stat -f -c '%c %d' "$there" 2>/dev/null)"
    done
}

# fact_paths PATH…: print kind, mode, owner and group of each path that exists, and the target of each link, with what it
# leads to.
fact_paths() {
    stat -c "stat$tab%n$tab%F$tab%a$tab%U:%G" -- "$@" 2>/dev/null
    for path; do
        [ -h "$path" ] || continue
        fact link "$path" "$(readlink "$path")"
        stat -L -c "leads$tab%n$tab%F$tab%a$tab%U:%G" -- "$path" 2>/dev/null
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

# fact_units UNIT…: print each unit's state, enablement, restarts, whether systemd has yet to read its files again, and the
# hashes of its input files at the last start. Set $active.
fact_units() {
    active=' '
    shown=$(systemctl show -p Id -p ActiveState -p UnitFileState -p MainPID -p NRestarts -p NeedDaemonReload "$@" 2>/dev/null)
    while IFS='=' read -r key value; do
        case $key in
        '') fact unit next && main= ;;
        MainPID) main=$value ;;
        Id) name=$value && { [ "$name" != docker.service ] || dockerd_process=$main; } ;;
        ActiveState) [ "$value" != active ] || active="$active$name " ;;
        esac
        [ -z "$key" ] || fact unit "$key" "$value"
    done <<EOF
$shown
EOF
    for unit; do
        inputs=/run/overlay-provision/$unit.inputs
        [ ! -f "$inputs" ] || is_started_otherwise "$unit" ||
            while read -r sum path; do fact input "$unit" "$path" "$sum"; done <"$inputs"
    done
}

# is_started_otherwise UNIT: succeed if dockerd runs with a command line that is not ours. A drop-in of the user that
# replaces our command line still lets systemd record our inputs.
is_started_otherwise() {
    [ "$1" = docker.service ] || return 1
    line=/proc/${dockerd_process:-0}/cmdline
    [ -r "$line" ] && ! tr '\0' ' ' <"$line" | grep -q overlay-provision/daemon.json
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

# has_ended USERS: succeed if this process of ss's list has ended since then: it has no port any more.
has_ended() {
    process=${1#*pid=}
    [ "$process" != "$1" ] && [ ! -d "$proc/${process%%,*}" ]
}

# unit_of USERS: print the unit whose main process is in ss's list: systemd started the process, in the unit's control group.
# Its PID may be another one than a moment ago, when systemd was asked for the unit.
unit_of() {
    for process in $(printf %s "$1" | grep -o 'pid=[0-9]*'); do
        process=$proc/${process#pid=}
        ! grep -q '^PPid:[[:space:]]*1$' "$process/status" 2>/dev/null ||
            sed -n 's|.*/\([^/]*[.]service\).*|\1|p' "$process/cgroup" 2>/dev/null
    done | head -n 1
}

# fact_ports PORT…: print the listeners on each port, TCP and UDP, with their processes and unit.
fact_ports() {
    command -v ss >/dev/null || return 0
    for port; do filter="${filter:+$filter or }sport = :$port"; done
    ss -H -lntup "( $filter )" 2>/dev/null | while read -r protocol _ _ _ local _ users; do
        tries_a_port "$users" || has_ended "$users" ||
            fact port "$protocol" "$local" "${users:-unknown}" "$(unit_of "$users")"
    done
}

# fact_tables TABLE…: print whether nft works, each of our tables that is in the kernel as its unit loaded it, and the
# addresses that the table in the kernel lets in, whoever loaded it.
fact_tables() {
    nft list tables >/dev/null 2>&1 || return 0
    fact value nft yes
    for table; do
        listed=$(nft -s list table inet "$table" 2>/dev/null)
        hash=$(printf '%s\n' "$listed" | sha256sum)
        [ "$hash" != "$(line_of "/run/overlay-provision/$table.loaded")" ] || fact table "$table"
        case $listed in *'elements = {'*) listed=${listed#*elements = \{} ;; *) continue ;; esac
        for address in $(printf %s "${listed%%\}*}" | tr -d ,); do fact admitted "$address"; done
    done
}

# fact_rules: of the rules for packets that dockerd makes at its start, print which are in the kernel: `forward` and `nat`
# lead to Docker's chains, `masquerade` lets containers of overlays out. Print nothing if nobody knows. dockerd may have
# used another variant of iptables than the one that is the host's default today.
fact_rules() {
    is_active docker.service && command -v iptables-save >/dev/null || return 0
    rules=$(iptables-save 2>/dev/null) || return 0
    case $rules in
    *'-A FORWARD -j DOCKER-USER'*) ;;
    *) rules=$rules$(iptables-legacy-save 2>/dev/null; iptables-nft-save 2>/dev/null) ;;
    esac
    found=
    while read -r rule; do
        case $rule in
        '-A FORWARD -j DOCKER-USER'*) found="$found forward" ;;
        '-A PREROUTING '*' -j DOCKER') found="$found nat" ;;
        '-A POSTROUTING '*' ! -o docker_gwbridge -j MASQUERADE') found="$found masquerade" ;;
        esac
    done <<EOF
$rules
EOF
    fact value docker-rules "$found"
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

# fact_docker_unit: print dockerd's unit, the variables of its command line, and whether systemd has a socket for it. Set
# $docker_words, all that is on the command line.
fact_docker_unit() {
    unit_text=$(systemctl cat docker.service 2>/dev/null)
    docker_words=$(printf '%s\n' "$unit_text" | docker_command)
    variables=$(printf '%s\n' "$unit_text" | docker_variables "$docker_words")
    docker_words="$docker_words $(printf '%s\n' "$variables" | sed '/^#/d; s/^[^=]*=//')"
    printf '%s\n' "$unit_text" | fact_encoded value docker-unit
    printf '%s\n' "$variables" | fact_encoded value docker-options
    is_active docker.socket || opens_docker_socket || fact value docker-socket none
}

# opens_docker_socket: succeed if a start of dockerd lets systemd open its socket.
opens_docker_socket() {
    [ "$(systemctl show -p LoadState --value docker.socket 2>/dev/null)" = loaded ] &&
        printf '%s\n' "$unit_text" | grep -q '^ *\(Requires\|Wants\|BindsTo\|Sockets\) *=.*docker[.]socket'
}

# fact_docker_packages: print the first lines of what dpkg records of the packages that dockerd and its client are from:
# whether it is to `install` or to `hold` each. dpkg's files are read because dpkg reads all of them. Docker's packages are
# called docker.io, docker-cli, docker-ce, docker-ce-cli, moby-engine, moby-cli.
fact_docker_packages() {
    dpkg=${OVERLAY_DPKG:-/var/lib/dpkg} # the variable is for tests
    dockerd=$(command -v dockerd) && [ -r "$dpkg/status" ] || return 0
    client=${dockerd%/*bin/*}/bin/docker
    # shellcheck disable=SC2046 # a word a file
    set -- $(grep -lxF -e "$dockerd" -e "$client" "$dpkg"/info/docker*.list "$dpkg"/info/moby*.list 2>/dev/null)
    [ $# != 0 ] || return 0
    for list; do
        package=${list##*/} package=${package%.list}
        shift
        set -- "$@" -e "Package: ${package%:*}"
    done
    # shellcheck disable=SC2046 # in one line
    set -- $(grep -A 3 -xF "$@" "$dpkg/status")
    fact value docker-packages "$*"
}

# fact_docker_failure CONFIG: print why dockerd could not start with its present configuration, and the last words of one
# that has failed. One that runs is asked only if its configuration is newer than the process.
fact_docker_failure() {
    command -v dockerd >/dev/null && [ ! -e "$state/docker/installing" ] && is_changed "$1" || return 0
    dockerd_complaint | tail -n 3 | fact_encoded value docker-failure
    case $(systemctl show -p SubState --value docker.service 2>/dev/null) in
    failed | auto-restart*) last_words docker.service | tail -n 1 | fact_encoded value docker-last-words ;;
    esac
}

# is_changed CONFIG: succeed if dockerd does not run, or has started before one of its files was changed.
is_changed() {
    is_active docker.service && [ -e /run/docker.pid ] || return 0
    # shellcheck disable=SC2046 # a word a file
    find -L "$1" $(printf '%s\n' "$unit_text" | sed -n 's/^# \(\/[^ ]*\)$/\1/p; s/^ *EnvironmentFile *= *-\{0,1\}//p') \
        -newer /run/docker.pid 2>/dev/null | grep -q .
}

# dockerd_complaint: print why dockerd refuses $docker_words, its command line, or its configuration. Nothing is started:
# Docker 23 and later have a flag for that. An older one is called as nobody. It reads its configuration before it notices
# that it is not root; where nobody may not read that, nothing is known.
dockerd_complaint() (
    set -f
    # shellcheck disable=SC2046 # a word a flag
    set -- $(printf %s "$docker_words" | tr -d "\"'")
    [ $# = 0 ] || shift # the program
    for word; do
        case $word in '$'*) ;; *) set -- "$@" "$word" ;; esac # a variable: its value is among the words
        shift
    done
    ! said=$(timeout 5 dockerd --validate "$@" 2>&1) || said=
    case $said in *'unknown flag: --validate'*)
        said=$(setpriv --reuid=65534 --regid=65534 --clear-groups timeout 5 dockerd "$@" 2>&1)
        case $said in *'needs to be started with root'* | *'ermission denied'*) said= ;; esac
        ;;
    esac
    printf '%s\n' "$said" | grep -v -e '^$' -e '^Flag .* deprecated' -e level=info -e level=warning || true
)

# fact_containers: print what Docker needs to start containers: which of its programs are there, whether AppArmor is on,
# and which control groups and which filter for system calls the kernel has.
fact_containers() {
    fact value programs "$(for program in containerd-shim-runc-v2 runc iptables apparmor_parser; do
        ! command -v "$program" >/dev/null || printf '%s ' "$program"
    done)"
    system=${OVERLAY_SYS:-/sys} # the variable is for tests
    [ "$(line_of "$system/module/apparmor/parameters/enabled")" != Y ] || [ ! -d "$system/kernel/security/apparmor" ] ||
        fact value apparmor yes
    if [ -f "$system/fs/cgroup/cgroup.controllers" ] || [ -d "$system/fs/cgroup/devices" ]; then fact value cgroups yes; fi
    ! grep -q '^Seccomp:' /proc/self/status || fact value seccomp yes
}
