# Restore a node as it was before us, the last change first. POSIX sh. The control plane's own reset.sh follows; it defines
# leave_network and end_membership.

# leave_overlays: take every container, running or not, off the networks that hosts share.
leave_overlays() {
    shown=$(systemctl show -p ActiveState docker.service) || die "systemd does not answer for docker.service"
    case ${shown#ActiveState=} in active | reloading) ;; *) return 0 ;; esac
    networks=$(timeout 60 docker network ls -q --no-trunc --filter driver=overlay) || die "docker does not list its networks"
    for network in $networks; do
        on_it=$(timeout 60 docker ps -a --no-trunc --filter "network=$network" --format "$listed_id") ||
            die "docker does not list its containers"
        for container in $on_it; do
            leave_overlay "$network" "$container"
        done
    done
}

# leave_overlay NETWORK CONTAINER: take a container off a network. An attempt may fail because one of Docker's threads is in
# a namespace that is gone; the next attempt gets another thread.
leave_overlay() {
    for _ in 1 2 3 4 5; do
        ! timeout 60 docker network disconnect -f "$1" "$2" 2>/run/overlay-provision.leave || return 0
        sleep 1
    done
    die "the container $2 cannot leave the network $1: $(cat /run/overlay-provision.leave)"
}

# docker_answers: succeed if dockerd runs and answers.
docker_answers() {
    systemctl -q is-active docker.service && command -v docker >/dev/null && timeout 10 docker version >/dev/null 2>&1
}

# stop_dockerd: stop dockerd, by SIGKILL if it does not end by itself: its unit may have no time limit. Its containers stay.
stop_dockerd() {
    ! timeout 30 systemctl stop docker.service docker.socket 2>/dev/null || return 0
    systemctl kill --kill-who=main -s KILL docker.service 2>/dev/null
    timeout 60 systemctl stop docker.service docker.socket 2>/dev/null || true
}

# drop_keepers: remove our keepers, by their label. Print it if Docker does not list them.
drop_keepers() {
    docker_answers || return 0
    if keepers=$(timeout 60 docker ps -aq -f label=overlay-keeper); then
        printf '%s\n' "$keepers" | xargs -r timeout 60 docker rm -f >/dev/null 2>&1 || true
    else
        echo 'the keepers may be left: Docker does not list its containers'
    fi
}

# put_back_docker: restore Docker's own configuration, and whether dockerd ran; remove our networks and our image. Print
# what cannot be done.
put_back_docker() {
    docker_answers || stop_dockerd
    leave_network
    put_back '/etc/docker|/etc/systemd/system/docker.service.d|/etc/systemd/system/overlay-(join|mend).service'
    began=$(date +%s)
    ! was=$(recorded unit docker.service) || put_back_dockerd "$was"
    if docker_answers; then
        put_back_things
    elif [ "${was##* }" = active ] && command -v dockerd >/dev/null; then
        tell_failure "$began"
    fi
    # Last: as long as these files exist, a run that follows a killed one knows that all this is still to be done.
    rm -f /run/overlay-provision/docker.* /run/overlay-provision/mend.* /run/overlay-provision/daemon.json
}

# put_back_things: remove our keepers, networks and image. Some keepers are left if dockerd did not answer before.
put_back_things() {
    drop_keepers
    [ -f "$state/record" ] || return 0 # of a host on which only Docker was installed
    while IFS=$tab read -r kind name _; do
        case $kind in
        network) status=$(docker_status "/networks/$name") ;;
        image) status=$(docker_status "/images/$name/json") ;;
        *) continue ;;
        esac
        case $status in
        404) ;;
        200) docker "$kind" rm "$name" >/dev/null 2>&1 || stays "$kind" "$name" ;;
        *) printf 'the %s %s may be left: Docker does not answer\n' "$kind" "$name" ;;
        esac
    done <"$state/record"
}

# stays KIND NAME: print that Docker does not remove the network, or the image.
stays() {
    if [ "$1" = network ]; then
        printf 'the network %s stays: something uses it\n' "$2"
    else
        printf 'the image %s stays: something uses it\n' "$2" >&2
    fi
}

# put_back_dockerd RECORD: restart dockerd as it was configured before, or stop it if it did not run. Docker may have been
# removed since then.
put_back_dockerd() {
    systemctl daemon-reload
    systemctl cat docker.service >/dev/null 2>&1 || return 0
    systemctl reset-failed docker.service 2>/dev/null
    case $1 in
    *' active') timeout 120 systemctl restart docker.service 2>/dev/null ;;
    *) stop_dockerd ;;
    esac
    case $1 in enabled*) ;; *) systemctl disable -q docker.service ;; esac
}

# tell_failure TIME: print that dockerd does not answer with its configuration of before, and what it has said since then.
tell_failure() {
    said=$(journalctl --since "@$1" _SYSTEMD_UNIT=docker.service -n 1 --no-pager -o cat 2>/dev/null)
    unit_is=$(systemctl is-active docker.service)
    printf 'Docker, configured as before us, does not answer (docker.service is %s)%s\n' "$unit_is" "${said:+: $said}"
}

# put_back_rest: end the membership, restore every other path, and remove the record last.
put_back_rest() {
    end_membership
    drop_firewall
    put_back '.*'
    remove_docker || exit 1 # it was the first that we have changed
    systemctl daemon-reload
    rm -f /run/overlay-provision/*.inputs
    remove_path "$state"
}
