# Functions that change a node. POSIX sh; needs coreutils or busybox, and systemd.
# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails

sync_path() {
    sync "$1" 2>/dev/null || sync
}

# give_up FILE WORDS…: remove the temporary file, and die with the words.
give_up() {
    rm -rf "$1"
    shift
    die "$@"
}

# put_file PATH MODE OWNER SHA256 < base64: write a file completely or not at all. It is never open wider than MODE.
put_file() {
    [ ! -d "$1" ] || [ -h "$1" ] || die "$1 is a folder; a file of ours must be"
    folder=${1%/*}
    temporary=$folder/.${1##*/}.overlay-provision
    [ ! -e "$temporary" ] && [ ! -h "$temporary" ] || rm -f "$temporary"
    (umask 077 && base64 -d >"$temporary") && sync_path "$temporary" || give_up "$temporary" "cannot write $temporary"
    printf '%s  %s\n' "$4" "$temporary" | sha256sum -c >/dev/null 2>&1 ||
        give_up "$temporary" "$1 arrived damaged: its checksum differs"
    chown "$3" "$temporary" && chmod "$2" "$temporary" && mv -fT "$temporary" "$1" ||
        give_up "$temporary" "cannot put $1 in place"
    sync_path "$folder"
}

# put_folder PATH MODE OWNER: make a folder, or set mode and owner of the one that a link leads to.
put_folder() {
    # With four digits chmod keeps a folder's setgid bit; with five it clears it.
    mkdir -p "$1" && chown "$3" "$1" && chmod "0$2" "$1" || die "cannot make the folder $1"
}

# put_link PATH TARGET: create or replace a link atomically.
put_link() {
    temporary=${1%/*}/.${1##*/}.overlay-provision
    ln -sfn "$2" "$temporary" && mv -fT "$temporary" "$1" || give_up "$temporary" "cannot make the link $1"
}

put_user() {
    id "$1" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir "$2" --shell /usr/sbin/nologin "$1" ||
        die "cannot make the user $1"
}

# put_keeper NAME NETWORK IMAGE: start a keeper, see phases/keepers.py. It may start without an address and leave a stale
# endpoint, because one of Docker's threads is in a namespace that is gone; the next attempt gets another thread. The
# keeper is stopped by SIGKILL, as it has nothing to save. NET_RAW is for ping.
put_keeper() {
    tries=0
    while :; do
        if id=$(docker run -d --name "$1" --network "$2" --label "overlay-keeper=$2" --restart always --stop-signal KILL \
            --memory 16m --read-only --cap-drop ALL --cap-add NET_RAW --ipc none --log-driver none "$3" sleep 2147483647) &&
            has_address "$id"; then
            remove_keepers "$2" "$id"
            return 0
        fi
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] || die "docker cannot start $1"
        docker rm -f "$1" >/dev/null 2>&1 || true
        docker network disconnect -f "$2" "$1" >/dev/null 2>&1 || true
        sleep 0.3
    done
}

# remove_keepers NETWORK ID: remove the network's keepers, but the one with this ID. `overlay-mend` may have given the former
# keeper another name for a moment, and then it could not give the old one back.
remove_keepers() {
    for keeper in $(docker ps -aq --no-trunc -f "label=overlay-keeper=$1" 2>/dev/null); do
        [ "$keeper" = "$2" ] || docker rm -f "$keeper" >/dev/null 2>&1 || true
    done
}

# has_address CONTAINER: succeed if the container has an address; else say so and fail.
has_address() {
    [ -z "$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1")" ] || return 0
    printf 'Docker started %s without an address\n' "$1" >&2
    return 1
}

# put_gateway_bridge [SUBNET]: create docker_gwbridge, with the options that Docker uses when it creates it itself for the
# first container on an overlay. It is no error if Docker is faster.
put_gateway_bridge() {
    ! timeout 10 docker network inspect docker_gwbridge >/dev/null 2>&1 || return 0
    timeout 60 docker network create ${1:+--subnet "$1"} -o com.docker.network.bridge.name=docker_gwbridge \
        -o com.docker.network.bridge.enable_icc=false -o com.docker.network.bridge.enable_ip_masquerade=true \
        docker_gwbridge >/dev/null || docker network inspect docker_gwbridge >/dev/null 2>&1 ||
        die "docker cannot make docker_gwbridge${1:+ with $1}"
}

# begin_unit UNIT: enable and start a unit, without waiting, unless it runs already.
begin_unit() {
    ! systemctl is-active -q "$1" || return 0
    enable_unit "$1"
    systemctl start --no-block "$1" || die "cannot start $1"
}

enable_unit() {
    if systemctl is-enabled -q "$1" 2>/dev/null; then
        systemctl daemon-reload
    elif is_known_unit "$1"; then
        systemctl enable -q "$1" || die "cannot enable $1" # this reloads all units
    else
        systemctl enable -q --no-reload "$1" || die "cannot enable $1"
        return 0
    fi
    systemctl reset-failed "$1" 2>/dev/null || true
}

# is_known_unit UNIT: succeed if systemd has the unit in memory, loaded or not found. systemd reads an unknown unit when it
# starts it; a reload of all units takes a tenth of a second.
is_known_unit() {
    [ -n "$(systemctl list-units --all --plain --no-legend --no-pager "$1" 2>/dev/null)" ]
}

# journal_end UNIT…: print the last errors of the units to stderr.
journal_end() {
    last_words "$@" >&2
}

# run_unit VERB UNIT SECONDS: start, restart or reload a unit and wait for it, up to a limit. On failure print its journal.
run_unit() {
    # Before dockerd starts, because docker-store asks for its version then.
    [ "$2" != docker.service ] || ! dockerd=$(command -v dockerd) || stamp "$dockerd" "$(dockerd --version)"
    enable_unit "$2"
    if ! timeout "$3" systemctl "$1" "$2"; then
        printf '%s did not %s within %s s. Its journal ends:\n' "$2" "$1" "$3" >&2
        journal_end "$2"
        exit 1
    fi
}

# stays_up UNIT: die, with the end of its journal, if the unit has restarted more than once and its process has not yet
# run for ten seconds.
stays_up() {
    shown=$(systemctl show -p NRestarts -p ActiveState -p ExecMainStartTimestampMonotonic "$1" | tr '\n' ' ')
    case $shown in
    *ActiveState=failed* | *NRestarts=[2-9]* | *NRestarts=[1-9][0-9]*) ;;
    *) return 0 ;;
    esac
    began=${shown##*ExecMainStartTimestampMonotonic=} now=$(cut -d. -f1 /proc/uptime)
    case $shown in *ActiveState=active*) [ $((now - ${began%% *} / 1000000)) -lt 10 ] || return 0 ;; esac
    printf '%s does not stay up. Its journal ends:\n' "$1" >&2
    journal_end "$1"
    exit 1
}

# drop_firewall: remove our nftables table and its unit, if they were ever there.
drop_firewall() {
    recorded unit overlay-firewall.service >/dev/null || return 0
    systemctl disable -q --now overlay-firewall.service 2>/dev/null || true
    nft delete table inet overlay_provision 2>/dev/null || true # in case the unit was gone
    put_back '/etc/overlay-provision|/etc/systemd/system/overlay-firewall.service'
    rm -f /run/overlay-provision/overlay-firewall.service.inputs /run/overlay-provision/overlay_provision.loaded
    systemctl daemon-reload
}
