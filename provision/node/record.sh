# Record what was on the node before the first change, and restore it for reset. POSIX sh.
# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails

untouched='nothing was changed: what was there before must be known first'

# remember KIND NAME VALUE: append a line to the record, unless it has one for this name. KIND: absent, kept, folder, empty,
# user, unit, network, image; hold; docker, package, group, kernel (packages.sh).
remember() {
    ! remembered "$2" || return 0
    { [ -d "$state" ] || (umask 077 && mkdir -p "$state"); } && printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$state/record" ||
        die "cannot record $1 $2 in $state; $untouched"
    names="$names$2
"
}

# remembered NAME: succeed if the record has a line for this name. The names are read once, into a list of lines.
names=

remembered() {
    [ -n "$names" ] || names="
$([ ! -f "$state/record" ] || cut -f2 "$state/record")
" || die "cannot read $state/record; $untouched"
    case $names in
    *"
$1
"*) ;;
    *) return 1 ;;
    esac
}

# remember_path PATH…: record that the path was absent, or keep a copy of it.
remember_path() {
    for path; do
        if remembered "$path"; then
            continue
        elif [ ! -e "$path" ] && [ ! -h "$path" ]; then
            remember absent "$path" -
        elif [ -d "$path" ]; then
            # The folder existed, or a link to one: reset restores the folder's mode and owner only.
            remember folder "$path" "$(stat -L -c '%a %u:%g' "$path")"
        else
            (umask 077 && mkdir -p "$state/kept")
            copy=$state/kept/$(printf %s "$path" | sha256sum | cut -c1-16)
            cp -a "$path" "$copy" || die "cannot keep a copy of $path in $state/kept; $untouched"
            remember kept "$path" "$copy"
        fi
    done
}

# remember_unit UNIT…: record whether the unit is enabled and runs.
remember_unit() {
    for unit; do
        ! remembered "$unit" || continue
        shown=$(systemctl show -p UnitFileState -p ActiveState "$unit") || die "systemd does not answer for $unit; $untouched"
        active=$(printf '%s\n' "$shown" | sed -n 's/^ActiveState=//p')
        # Docker creates this network for the first container on an overlay.
        [ "$unit" != docker.service ] || remember_gateway_bridge "$active"
        remember unit "$unit" "$(printf '%s\n' "$shown" | sed -n 's/^UnitFileState=//p') $active"
    done
}

# remember_gateway_bridge STATE: record that docker_gwbridge is absent. STATE: that of docker.service. A dockerd that is
# stopped is not asked: systemd would start it. It keeps its networks in a file.
remember_gateway_bridge() {
    case $1 in
    inactive | failed)
        networks=$(configured_docker_root) || die "cannot read Docker's configuration; $untouched"
        networks=$networks/network/files/local-kv.db found=1
        [ ! -e "$networks" ] || { grep -q docker_gwbridge "$networks" && found=0 || found=$?; }
        case $found in
        0) ;;
        1) remember network docker_gwbridge - ;;
        *) die "cannot read $networks; $untouched" ;;
        esac
        ;;
    *) remember_network docker_gwbridge ;;
    esac
}

remember_user() {
    id "$1" >/dev/null 2>&1 || remember user "$1" -
}

remember_network() {
    remembered "$1" || remember_of_docker network "$1" "/networks/$1"
}

remember_image() {
    remembered "$1" || remember_of_docker image "$1" "/images/$1/json"
}

# remember_of_docker KIND NAME PATH: record that Docker does not have what is at this path of its API. That nobody answers
# does not mean that it is absent.
remember_of_docker() {
    status=$(docker_status "$3")
    case $status in
    200) ;;
    404) remember "$1" "$2" - ;;
    *) die "Docker does not say whether it has the $1 $2 (${status:-no answer}); $untouched" ;;
    esac
}

# docker_status PATH: print the status of Docker's answer to a GET of the path, or nothing if it does not answer. Our input
# must not end before the answer: see fact_docker.
docker_status() {
    {
        printf 'GET %s HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n' "$1"
        timeout 10 tail -f -s 0.02 /dev/null
    } 2>/dev/null | timeout 10 docker system dial-stdio 2>/dev/null | sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p'
}

# remember_hold PACKAGE: record that the package was not held.
remember_hold() {
    remember hold "package $1" -
}

# release_package NAME: let upgrades replace the package again, if it is still installed and held.
release_package() {
    selection=$(dpkg --get-selections "$1" 2>/dev/null) || die "dpkg does not say whether the package $1 is held"
    case $selection in *hold) select_package "$1" install ;; esac
}

# select_package NAME STATE: tell dpkg that the package is to `install`, or to `hold`. While another program installs
# packages, dpkg is locked.
select_package() {
    deadline=$(($(date +%s) + 120))
    until said=$(printf '%s %s\n' "$1" "$2" | dpkg --set-selections 2>&1); do
        [ "$(date +%s)" -lt "$deadline" ] || die "dpkg does not note that the package $1 is to $2: $said"
        sleep 1
    done
}

# put_back PATTERN: restore, from the record, all names that begin with one of the patterns (separated by |).
put_back() {
    [ -f "$state/record" ] || return 0
    backwards=$(sed '1!G;h;$!d' "$state/record") || die "cannot read $state/record; nothing is put back"
    printf '%s\n' "$backwards" | while IFS=$tab read -r kind name value; do
        printf '%s\n' "$name" | grep -qE -- "^($1)" && [ "$name" != "$state" ] || continue # the record itself goes last
        # Temporary files of a change that was killed.
        case $name in /*) rm -rf -- "${name%/*}/.${name##*/}.overlay-provision" "$name.overlay-provision" ;; esac
        case $kind in
        absent) remove_path "$name" ;;
        empty) [ ! -d "$name" ] || find "$name" -xdev -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf -- {} + ;;
        folder) [ ! -d "$name" ] || { put_owner_back "${value#* }" "$name" && chmod "${value% *}" "$name"; } ;;
        hold) release_package "${name#package }" ;;
        kept) mkdir -p "${name%/*}" && rm -rf -- "$name" && cp -a "$value" "$name" ;;
        user)
            ! id "$name" >/dev/null 2>&1 || userdel "$name" && # the group goes with the user, unless it has other members
                { ! getent group "$name" >/dev/null || groupdel "$name"; }
            ;;
        esac || die "cannot put back $kind $name"
    done || exit 1
}

# forget PATTERN [KIND]: remove from the record, durably, all names that begin with one of the patterns (separated by |), of
# one kind or of all, and the kept copies. They are as they were before our first change, and belong to the host again.
forget() {
    [ -f "$state/record" ] || return 0
    {
        : >"$state/forgotten" && : >"$state/record.new" && while IFS=$tab read -r kind name value; do
            if [ "$kind" != "${2:-$kind}" ] || ! printf '%s\n' "$name" | grep -qE -- "^($1)"; then
                printf '%s\t%s\t%s\n' "$kind" "$name" "$value" >>"$state/record.new" || exit 1
            elif [ "$kind" = kept ]; then
                printf '%s\n' "$value" >>"$state/forgotten" || exit 1
            fi
        done <"$state/record" && sync_path "$state/record.new" && mv -f "$state/record.new" "$state/record"
    } || die "cannot write $state/record.new; the record is unchanged"
    names=
    [ ! -f "$state/forgotten" ] || while read -r copy; do rm -rf -- "$copy"; done <"$state/forgotten"
    rm -f "$state/forgotten"
}

# remove_path PATH: remove what is there. Where a disk was mounted later, it stays mounted, and keeps its lost+found.
remove_path() {
    if mountpoint -q "$1" 2>/dev/null; then
        find "$1" -xdev -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf -- {} +
    else
        rm -rf -- "$1"
    fi
}

# put_owner_back USER:GROUP PATH: restore the owner, unless there is no such user or group any more.
put_owner_back() {
    chown "$1" "$2" 2>/dev/null || ! { getent passwd "${1%:*}" && getent group "${1#*:}"; } >/dev/null
}

# recorded KIND NAME: print the value in the record; fail if there is none.
recorded() {
    [ -f "$state/record" ] || return 1
    while IFS=$tab read -r kind name value; do
        [ "$kind $name" != "$1 $2" ] || { printf '%s\n' "$value"; return 0; }
    done <"$state/record"
    return 1
}
