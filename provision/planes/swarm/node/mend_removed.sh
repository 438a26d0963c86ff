# Leave a swarm that has struck this host off its list. POSIX sh; former_swarm.sh comes before it.
#
# A host may be given up while it is off: the others go on without it. Several such hosts that are back at once may be a majority
# of the swarm that they remember, and rule it beside the others. But their managers ask the others too, and are told that they
# were removed. What they hold of that swarm is kept, and `provision` lets them join the others. That restarts a dockerd that
# still listens for gossip, and nothing here does: it would stop the other containers of the host.
#
# On a full disk, neither the copy nor the record of containers may have room. The host leaves nevertheless: what its dockerd has
# of the swarm gets another name beside it, `swarm.left.ID`, and is copied at the first start of dockerd at which there is room.
former_swarms=${containers_record%/*}/former-swarms

# struck_off: print this host's ID in the swarm if a manager has said within the last half minute that it was removed. Only what
# dockerd writes itself counts: containers may write to the journal in its name.
struck_off() {
    root=$(print_recorded | sed -n 's/^root[[:space:]]//p')
    certificate=${root:-/var/lib/docker}/swarm/certificates/swarm-node.crt
    [ -r "$certificate" ] || return 0
    removed=$(journalctl _SYSTEMD_UNIT=docker.service _TRANSPORT=stdout -o cat -q --since=-30s 2>/dev/null |
        sed -n 's/.*= Permission denied: node \([a-z0-9]\{25\}\) was removed from swarm.*/\1/p' | sort -u)
    for identity in $removed; do
        ! is_of "$certificate" "$identity" || printf '%s\n' "$identity"
    done
}

# is_of CERTIFICATE IDENTITY: succeed if the certificate, the first one in the file, is of the node with the ID: its common name.
is_of() {
    sed '/^-.*END/q; /^-/d' "$1" | sed '/^-/d' | base64 -d 2>/dev/null | tr -d '\000' |
        grep -qa "$(printf 'U\004\003.\031%s' "$2")" # the type of a common name, and the length of an ID
}

# leave_if_struck_off: leave the swarm then. That this host cannot leave is said once.
leave_if_struck_off() {
    mine=$(struck_off)
    [ "$mine" ] || { complained= && return; }
    if leave_swarm "$former_swarms/$mine"; then
        tell_left
    elif [ -z "$copied" ] && leave_without_copy; then
        tell_put_by
    elif [ -z "${complained-}" ]; then
        complained=yes
        say "not left: the swarm that this host was removed from while it was away. This is tried again"
    fi
}

# leave_without_copy: leave the swarm where there is no room for a copy of its data. Docker removes nothing of that then. It says
# that it fails where there is no room for an empty folder, and has left nevertheless. A Docker that goes on is restarted: it
# starts in no swarm, and stops containers, but must not acknowledge writes that the others never see.
leave_without_copy() {
    root=$(docker_root) && put_by || return
    begin_detaching || :
    mkdir -m 700 "$root/swarm" || :
    for _ in 1 2 3; do
        timeout 60 docker swarm leave --force >/dev/null 2>&1 || :
        [ "$(swarm_state)" != inactive ] || return 0
    done
    timeout 240 systemctl restart docker.service
}

# put_by: give what dockerd has of the swarm another name, and set `left` to that. A rename needs no room.
put_by() {
    left=$(free_name "$root/swarm.left.$mine")
    mv "$root/swarm" "$left" && { sync "$root" 2>/dev/null || sync; }
}

# tell_left: say that this host has left its swarm, and where its data is.
tell_left() {
    say "left: the swarm that this host was removed from while it was away. Its data is in $kept; fab provision lets the host" \
        "join anew"
}

# tell_put_by [WORDS]: say that this host has left its swarm, and that there is no copy of its data yet. WORDS: why.
tell_put_by() {
    say "left: the swarm that this host was removed from while it was away. Its data cannot be copied to" \
        "$former_swarms${1:+ ($1)}, and stays in $left until Docker starts when there is room; fab provision lets the host" \
        "join anew"
}
