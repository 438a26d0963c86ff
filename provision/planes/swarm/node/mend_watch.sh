# Decide when to look; the command line. POSIX sh.

# is_up: succeed if dockerd lives. Docker must not be asked while it is stopped: systemd would start it for that.
is_up() {
    pid=
    { read -r pid <"$pidfile"; } 2>/dev/null || : # there is no end of line in it
    [ "$pid" ] && [ -d "/proc/$pid" ]
}

# greet: notice a dockerd that is new. Set `began` to the time at which it began, as Docker writes it but without the Z, if
# an earlier dockerd has been seen since the boot: only then it may have stopped containers.
greet() {
    [ "$pid" != "$known" ] || return 0
    before='' began=''
    { read -r before began <"$dockerd_file"; } 2>/dev/null || :
    if [ "$before" != "$pid" ]; then
        began=
        [ -z "$before" ] || began=$(date -u -r "$pidfile" +%Y-%m-%dT%H:%M:%S.%N | sed 's/[.][^0-9].*//; s/[.]$//')
        printf '%s %s\n' "$pid" "$began" >"$dockerd_file.new" && mv -f "$dockerd_file.new" "$dockerd_file"
    fi
    folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)/containers || return
    known=$pid own=
    look_at=$now peers_at=$now hurrying=$((now + hurry))
}

# turn: do what is due, and set `pause` to the seconds until the next turn.
turn() {
    tell_time
    pause=$quick
    record_containers
    is_up || return 0
    [ "$pid" = "$known" ] || leave_if_struck_off # before anybody is answered, as a dockerd that starts answers late
    greet || return 0
    every=$rarely # a look at the journal takes longer than all else here; who was removed misses the peers that were left
    [ -z "$suspected$alone" ] || every=$calm
    if [ "$now" -ge "$((removed_at + every))" ] || [ "$now" -lt "$hurrying" ]; then
        leave_if_struck_off
        removed_at=$now
    fi
    if [ "$now" -ge "$look_at" ] || { [ -z "$failed" ] && has_failed; }; then
        record_networks
        ! look || start
        tell_time # an attempt may take long
        look_at=$((now + rarely))
        [ -z "$failed" ] || look_at=$((now + quick))
        [ "$tries" -lt "$many" ] || look_at=$((now + slow))
    fi
    if [ "$now" -ge "$connections_at" ]; then
        end_overdue "Docker's managers" "$managers_port"
        connections_at=$((now + calm))
    fi
    if [ "$now" -ge "$peers_at" ]; then
        look_at_peers
        peers_at=$((now + gossip))
        [ -z "$suspected$alone" ] || peers_at=$((now + calm))
        ! is_soon_over || peers_at=$((now + quick))
    fi
    [ "$failed" ] && [ "$tries" -lt "$many" ] || is_soon_over || [ "$now" -lt "$hurrying" ] || pause=$calm
}

watch() {
    mkdir -p "$run"
    known='' began='' failed='' networks='' folder='' own='' suspected='' alone=''
    tries=0 look_at=0 peers_at=0 connections_at=0 hurrying=0 removed_at=0
    while :; do
        turn
        sleep "$pause"
    done
}

case ${1-} in
watch) watch ;;
before-start) leave_before_start ;;
*) echo "usage: mend watch|before-start" >&2; exit 2 ;;
esac
