# Containers come back to their networks on a host whose swarm is made anew, or that has joined another one. POSIX sh;
# changes.sh, reset.sh, this plane's reset.sh, containers.sh, former_swarm.sh and migrate.sh come before it.
# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails
kept_record=$containers_record.kept # see containers.sh
unit=$(printf '\037')               # between fields that may be empty

# hold_networks: hold the records as hold_containers does; fails also if Docker does not list the networks.
hold_networks() {
    is_detached || { listed=$(print_networks || networks_before) && hold_with "$listed"; }
}

# networks_before: print the networks that were recorded before Docker was started without its managers. Fails where it was not.
networks_before() {
    [ "$(swarm_state)" = pending ] || return
    cat "$networks_record" 2>/dev/null || echo '[]'
}

# leave_former_swarm FOLDER: let this host leave its swarm, also where its dockerd does not answer.
leave_former_swarm() {
    root=$(docker_root) || die "cannot read Docker's configuration, which says where its swarm is"
    hold_containers || die "what containers should have cannot be recorded in $state"
    ! { leave_swarm "$1" && end_gossip; } || return 0
    [ -d "$1.leaving" ] || [ ! -e "$root/swarm/docker-state.json" ] || die "cannot keep a copy of $root/swarm in ${1%/*}"
    forget_swarm
    name_copies "${1%/*}" || die "cannot write ${1%/*}"
    systemctl start docker.service || die "Docker does not start: $(last_words docker.service)"
}

# end_gossip: restart a dockerd that has left its swarm and still listens for gossip: in another swarm it would hear nobody.
end_gossip() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        ss -Hlntu "sport = :$gossip_port" 2>/dev/null | grep -q . || return 0
        sleep 0.3
    done
    timeout 240 systemctl restart docker.service
}

# reattach HOW: connect this node's containers to the networks that they should have, one at a time, and start those that should
# run, unless a user has stopped them since. HOW: `keep` the address of a container that runs, or let it have any. A container
# that the other hosts know is left alone. In the end the records are kept up to date again.
reattach() {
    [ -e "$containers_record.held" ] || return 0
    begin_detaching || die "cannot write $containers_record.held"
    how=$1 failed='' running='' fixed='' folder=''
    own=$(timeout 20 docker network ls -f scope=local --format '{{.Name}}') || die "Docker does not list its networks"
    recorded=$(print_recorded) || die "cannot read $containers_record"
    while IFS=$unit read -r kind id name _ address chosen aliases; do
        case $kind in
        root) folder=$id ;;
        container) [ "$address" != yes ] || was_stopped "$folder" "$id" || running="$running $id" ;;
        attachment)
            case "
$own
" in *"
$name
"*) continue ;; esac
            [ "$chosen" != yes ] || fixed="$fixed $id"
            put_on "$id" "$name" "$address" "$chosen" "$aliases" || failed="$failed $(name_of "$id")"
            ;;
        esac
    done <<END
$(printf '%s\n' "$recorded" | tr '\t' "$unit" | sed 's/\\u0026/\&/g; s/\\u003c/</g; s/\\u003e/>/g; s/\\"/"/g; s/\\\\/\\/g')
END
    docker ps --no-trunc -f label=overlay-keeper --format '{{.ID}} {{.Label "overlay-keeper"}}' >"$state/keepers.new" ||
        die "Docker does not list its containers"
    while read -r id name; do
        [ -z "$name" ] || put_on "$id" "$name" '' no '' || failed="$failed $(name_of "$id")"
    done <"$state/keepers.new"
    rm -f "$state/keepers.new"
    # shellcheck disable=SC2046 # a word a container
    start_again $(for id in $running; do case " $fixed " in *" $id "*) echo "$id" ;; esac; done)
    # shellcheck disable=SC2086
    start_again $running
    [ -z "$failed" ] || die "Docker does not connect these containers to their networks:$failed"
    if has_networks; then
        rm -f "$networks_record"
    elif [ -e "$networks_record" ]; then
        mv -f "$networks_record" "$networks_record.former" # it is written anew for the next day
    fi
    rm -f "$containers_record.held"
    sync_path "$state"
}

# has_networks: succeed if Docker has each recorded network again. Else the record is all that tells the subnet of one that is not.
has_networks() {
    there=$(timeout 20 docker network ls --format '{{.Name}}') || return
    # The names as `docker network inspect` prints them, with eight spaces; those of peers and containers have more.
    names=$(sed -n 's/^ \{8\}"Name": "\(.*\)",$/\1/p' "$networks_record" 2>/dev/null) || return
    for name in $names; do
        printf '%s\n' "$there" | grep -qxF -- "$name" || return
    done
}

# was_stopped FOLDER CONTAINER: succeed if a user has stopped the container since it was recorded, by Docker's files in the
# folder. A dockerd that was started since then may have written that of containers which it lost.
was_stopped() {
    find "$networks_record" -newer "${OVERLAY_PIDFILE:-/run/docker.pid}" 2>/dev/null | grep -q . &&
        grep -qs '"HasBeenManuallyStopped":true' "$1/containers/$2/config.v2.json"
}

# name_of CONTAINER: print its name, or the beginning of its ID.
name_of() {
    docker inspect -f '{{slice .Name 1}}' "$1" 2>/dev/null || printf '%.12s' "$1"
}

# put_on CONTAINER NETWORK ADDRESS FIXED ALIASES: connect a container to a network as before. An address that its user has not
# chosen is asked for only if the container runs and shall keep it; if another container has it, Docker chooses one.
put_on() {
    here=$(docker inspect -f "{{.State.Running}} {{with index .NetworkSettings.Networks \"$2\"}}{{.EndpointID}}{{end}}" "$1" \
        2>/dev/null) || { is_gone "$1"; return; }
    runs=${here%% *} endpoint=${here#* }
    [ "$runs" != true ] || ! is_told "$2" "$endpoint" || return 0
    container=$1 network=$2 address=$3 chosen=$4
    before=$IFS
    IFS=$unit
    set -f
    # shellcheck disable=SC2086 # a word an alias
    set -- $5
    set +f
    IFS=$before
    for alias; do
        set -- "$@" --alias "$alias"
        shift
    done
    [ "$chosen" = yes ] || { [ "$runs" = true ] && [ "$how" = keep ]; } || address=
    [ "$chosen" = yes ] || [ -z "$address" ] || keep_in_mind "$container$tab$network$tab$address"
    for try in 1 2 3 4; do
        docker network disconnect -f "$network" "$container" >/dev/null 2>&1 || :
        [ "$try" -lt 3 ] || [ "$chosen" = yes ] || address=
        ! complaint=$(timeout 60 docker network connect ${address:+--ip "$address"} "$@" "$network" "$container" 2>&1) || return 0
        case $complaint in *"$network not found"*) sleep 1 ;; esac # a node that has just joined learns of it a little later
    done
    case $complaint in *"$network not found"*)
        called=$(name_of "$container")
        note "container $called is not on the network $network any more: there is none of this name;" \
            "make it anew ($networks_record.former may tell its subnet), then docker network connect $network $called"
        return
        ;;
    esac
    printf '%s: %s\n' "$container" "$complaint" >&2
    return 1
}

# is_told NETWORK ENDPOINT: succeed if the gossip of this node's dockerd tells the other hosts of the endpoint.
is_told() {
    [ "$2" ] || return 1
    told=$(docker network inspect -v -f '{{range .Services}}{{range .Tasks}}{{.EndpointID}} {{end}}{{end}}' "$1" 2>/dev/null)
    case " $told" in *" $2 "*) ;; *) return 1 ;; esac
}

# keep_in_mind LINE: remember that a container asks for an address that its user has not chosen.
keep_in_mind() {
    grep -qxF -- "$1" "$kept_record" 2>/dev/null || (umask 077 && printf '%s\n' "$1" >>"$kept_record") ||
        die "cannot write $kept_record"
}
