# What containers should have: networks, aliases, addresses, restart policy; and the durable record of that. POSIX sh.
# library.sh comes before it.
#
# Docker's own files tell more than its API, and without dockerd: in swarm mode the API shows the address that a running
# container has as one that its user chose, fixed or not; config.v2.json says `IPAMOperational` for one that the swarm gave.
# (Seen with Docker 20.10, 26.1 and 28.) The files hold environments and labels of users too: only the fields below leave a
# node, or reach the record. Both have these lines, with a tab between fields, whose strings are escaped as in JSON:
#
# root       FOLDER                                      Docker's folder
# container  ID NAME IMAGE RUNS RESTART                  RUNS: yes or no
# attachment ID NETWORK NETWORK-ID ADDRESS FIXED ALIAS…  FIXED: yes or no; ALIAS: those of its user
#
# A container that was connected again so that it keeps its address asks for the address, though its user has not chosen it.
# Such addresses are in a file `containers.kept`, a line `ID NETWORK ADDRESS` each.
#
# Containers that are on none but Docker's own networks are left out, and so are ours and those of services.
containers_record=${OVERLAY_STATE:-/var/lib/overlay-provision}/containers # the variables are for tests
containers_mark=${OVERLAY_RUN:-/run/overlay-provision}/mend.recorded        # its mtime: when Docker's files were last read

# print_containers: print what Docker's files say now. Fails if they cannot be read.
print_containers() {
    place=$(docker_root) || return
    printf 'root\t%s\n' "$place"
    for _ in 1 2 3; do # a container may be removed while its file is read
        if lines=$(containers_of "$place/containers"); then
            [ -z "$lines" ] || printf '%s\n' "$lines"
            return 0
        fi
    done
    echo "the files in $place/containers cannot be read" >&2
    return 1
}

# print_temporary: print a line `temporary ID` for each container that Docker removes when it ends (`--rm`).
print_temporary() {
    place=$(docker_root) || return
    for file in "$place"/containers/*/hostconfig.json; do
        ! grep -qs '"AutoRemove":true' "$file" || { file=${file%/*} && printf 'temporary\t%s\n' "${file##*/}"; }
    done
}

# print_recorded: print what was recorded. Fails if it cannot be read.
print_recorded() {
    [ ! -e "$containers_record" ] || cat "$containers_record"
}

# docker_root: print Docker's folder: as dockerd says, else as it said when it was last recorded, else as it is configured.
# Fails if that cannot be read.
docker_root() {
    place=
    ! systemctl -q is-active docker.service || place=$(timeout 20 docker info --format '{{.DockerRootDir}}' 2>/dev/null)
    [ "$place" ] || place=$(print_recorded | sed -n 's/^root[[:space:]]//p')
    [ "$place" ] || place=$(configured_docker_root) || return
    printf '%s\n' "$place"
}

# record_containers: bring the record up to date, if Docker has written one of its files since the last look. While nothing
# changes, no process is started. Nothing is recorded while dockerd is down; while it stops, because it stops its containers
# then; and while a verb that takes containers off their networks holds the record, by a file `containers.held`.
record_containers() {
    process=
    { read -r process <"$pidfile"; } 2>/dev/null || : # there is no end of line in it
    [ "$process" ] && [ -d "/proc/$process" ] && [ -d "${containers_record%/*}" ] || return 0
    [ ! -e "$containers_record.held" ] || return 0
    if [ "$process" != "${recorded_of-}" ]; then
        systemctl -q is-active docker.service && containers_root=$(docker_root) || return 0
        recorded_of=$process
        rm -f "$containers_mark" "$containers_mark.last"
    fi
    true >"$containers_mark.now" || return 0
    # shellcheck disable=SC3013 # dash and busybox have -nt
    [ ! "$containers_mark" -nt "$containers_mark.now" ] || rm -f "$containers_mark" # the clock was set back
    has_written "$containers_root/containers" && update_record || return 0
    # The mark is the look before this one: what was written in the tick of the clock of this look is read again.
    [ ! -e "$containers_mark.last" ] || mv -f "$containers_mark.last" "$containers_mark"
    mv -f "$containers_mark.now" "$containers_mark.last"
}

# has_written FOLDER: succeed if a container was created or removed there, or written, since the mark.
has_written() {
    [ -e "$containers_record" ] || rm -f "$containers_mark"
    for file in "$1" "$1"/*/config.v2.json; do
        ! is_newer "$file" || return 0
    done
    return 1
}

# is_newer FILE: succeed if the file was written since the mark. Without a mark, every file is newer.
is_newer() {
    # shellcheck disable=SC3013
    [ ! -e "$containers_mark" ] || [ "$1" -nt "$containers_mark" ]
}

# update_record: write the record anew if it differs. A container leaves it when Docker has removed the container. An
# attachment leaves it when Docker still has the network: then its user has disconnected it. Else Docker has forgotten the
# network, as one that was upgraded forgets those of a store, and one that leaves a swarm those of the swarm.
update_record() {
    [ -d "$containers_root/containers" ] && systemctl -q is-active docker.service && recorded=$(print_recorded) || return
    fresh=$(containers_of "$containers_root/containers" "$containers_record") || return
    case $fresh in *vanished*)
        if ids=$(timeout 20 docker network ls -q --no-trunc 2>/dev/null); then
            fresh=$(containers_of "$containers_root/containers" "$containers_record" "$ids") || return
        fi
        fresh=$(printf '%s\n' "$fresh" | sed 's/^vanished/attachment/')
        ;;
    esac
    fresh=$(printf 'root\t%s\n%s' "$containers_root" "$fresh")
    [ "$fresh" != "$recorded" ] || return 0
    (umask 077 && printf '%s\n' "$fresh" >"$containers_record.new") || return
    sync "$containers_record.new" 2>/dev/null || sync
    mv -f "$containers_record.new" "$containers_record" || return
    sync "${containers_record%/*}" 2>/dev/null || sync
}

# containers_of FOLDER [RECORD [IDS]]: print the lines of the containers in Docker's folder. With a record, only files that
# were written since the mark are read; an address that a container has not at present is that of the record; and an
# attachment that it has no more is a line `vanished`, unless its network is among the IDs. Fails if a file is removed
# meanwhile.
containers_of() (
    cd "$1" 2>/dev/null || exit 0
    record=${2-}
    # shellcheck disable=SC2086 # a word an ID
    lives=$(printf ' %s' ${3-})
    set -- */config.v2.json
    [ -e "$1" ] || exit 0
    for file; do
        shift
        if [ -z "$record" ] || is_newer "$file"; then
            set -- "$@" "$file"
            [ ! -e "${file%/*}/hostconfig.json" ] || set -- "$@" "${file%/*}/hostconfig.json"
        else
            set -- "$@" "${file%/*}" # a container whose lines are in the record
        fi
    done
    awk -v record="$record" -v kept="$containers_record.kept" -v lives="$lives " "$containers_program" "$@" 2>/dev/null
)

# A JSON text is read in pieces between quotes: each is outside a string, or part of one. `where` is the path of keys to the
# value, each after a character that a JSON text holds only escaped. A container that Docker could not start should run: its
# policy says so, and its user has not stopped it. (Docker 20.10 and later do not count their own end as a user's stop.)
# shellcheck disable=SC2016 # awk's
containers_program='
BEGIN {
    OFS = "\t"; S = "\034"; networks_at = S "NetworkSettings" S "Networks" S
    while (record != "" && (getline line < record) > 0) {
        split(line, field, "\t")
        if (field[1] == "container") had[field[2]] = line
        if (field[1] != "attachment") continue
        had[field[2], ++had_count[field[2]]] = line
        had_address[field[2], field[3]] = field[5]
    }
    while ((getline line < kept) > 0) not_chosen[line]
    for (i = 1; i < ARGC; i++)
        if (sub("/config[.]v2[.]json$", "", ARGV[i])) { container[++count] = ARGV[i]; ARGV[i] = ARGV[i] "/config.v2.json" }
        else if (ARGV[i] !~ "/") { container[++count] = ARGV[i]; ARGV[i] = "" }
    RS = "\""
}
FNR == 1 {
    depth = inside = valued = 0; key = ""
    folder = FILENAME; sub("/.*", "", folder); is_config = FILENAME ~ /config[.]v2/
}
inside {
    text = text $0
    if (match($0, /\\+$/) && RLENGTH % 2) { text = text "\""; next }
    inside = 0
    if (valued || kind[depth] == "[") found(text); else key = text
    next
}
{ outside($0); inside = 1; text = "" }
END { for (i = 1; i <= count; i++) describe(container[i]) }
function outside(piece,  i, letter, word) {
    for (i = 1; i <= length(piece); i++) {
        letter = substr(piece, i, 1)
        if (!index("{}[]:, \t\r\n", letter)) { word = word letter; continue }
        if (word != "") { found(word); word = "" }
        if (letter == ":") valued = 1
        else if (letter == ",") valued = 0
        else if (letter == "}" || letter == "]") { depth--; valued = 0 }
        else if (letter == "{" || letter == "[") {
            where[depth + 1] = depth ? where[depth] S key : ""
            kind[++depth] = letter; valued = 0; key = ""
            if (letter == "{" && is_config && index(where[depth], networks_at) == 1)
                meet(substr(where[depth], length(networks_at) + 1))
        }
    }
}
# meet PATH: remember a network of the container; below it there are further paths.
function meet(network) {
    if (network ~ S) return
    network_of[folder, ++networks[folder]] = network
    if (!is_local(network)) shared[folder] = 1
}
function is_local(network) { return network == "bridge" || network == "host" || network == "none" }
function found(value,  path) {
    path = substr(where[depth] S key, 2)
    if (!is_config) { if (path == "RestartPolicy" S "Name") restart[folder] = value }
    else if (path == "ID") identity[folder] = value
    else if (path == "Name") { sub("^/", "", value); name[folder] = value }
    else if (path == "Config" S "Image") image[folder] = value
    else if (path == "State" S "Running") running[folder] = value
    else if (path == "State" S "ExitCode") code[folder] = value
    else if (path == "HasBeenManuallyStopped") stopped[folder] = value
    else if (path == "HasBeenStartedBefore") started[folder] = value
    else if (path == "Config" S "Labels" S "overlay-keeper" || path == "Config" S "Labels" S "overlay-provision.run" ||
             path == "Config" S "Labels" S "com.docker.swarm.task.id") left_out[folder] = 1
    else if (index(S path, networks_at) == 1) of_network(substr(path, length(networks_at)), value)
}
function of_network(path, value,  network) {
    network = path; sub(S ".*", "", network)
    path = substr(path, length(network) + 2)
    if (path == "NetworkID") id[folder, network] = value
    else if (path == "IPAddress") address[folder, network] = value
    else if (path == "IPAMConfig" S "IPv4Address") asked[folder, network] = value
    else if (path == "IPAMOperational") given[folder, network] = value
    else if (path == "Aliases" S && value != substr(folder, 1, 12)) # Docker 20.10 adds the beginning of the ID
        aliases[folder, network] = aliases[folder, network] OFS value
}
function should_run(it) {
    if (running[it] == "true") return "yes"
    if (restart[it] == "no" || started[it] != "true" || stopped[it] == "true") return "no"
    return restart[it] == "on-failure" && code[it] == "0" ? "no" : "yes"
}
function describe(it,  i, network, fixed, last, now, lines, still) {
    if (left_out[it]) return
    if (identity[it] != it || name[it] == "") { # a file that was not read, or not to be read: what was recorded stays
        if (it in had) print had[it]
        for (i = 1; i <= had_count[it]; i++) print had[it, i]
        return
    }
    if (restart[it] == "") restart[it] = "no"
    for (i = 1; i <= networks[it]; i++) {
        network = network_of[it, i]; still[network]
        fixed = asked[it, network] != "" && given[it, network] != "true" && !((it OFS network OFS asked[it, network]) in not_chosen)
        now = address[it, network]
        if (now == "" && fixed) now = asked[it, network]
        if (now == "") now = had_address[it, network]
        lines = lines "\n" "attachment" OFS it OFS network OFS id[it, network] OFS now
        lines = lines OFS (fixed ? "yes" : "no") aliases[it, network]
    }
    for (i = 1; i <= had_count[it]; i++) {
        last = had[it, i]; split(last, field, "\t")
        if (field[3] in still || is_local(field[3]) || (field[4] != "" && index(lives, " " field[4] " "))) continue
        sub("attachment", "vanished", last); lines = lines "\n" last; shared[it] = 1
    }
    if (shared[it]) print "container", it, name[it], image[it], should_run(it), restart[it] lines
}
'
