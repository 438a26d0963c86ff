# Record what was on the node before the first change, and restore it for reset. POSIX sh.
# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails

# remember KIND NAME VALUE: append a line to the record, unless it has one for this name. KIND: absent, kept, folder, user,
# unit, network, image.
remember() {
    ! remembered "$2" || return 0
    [ -d "$state" ] || (umask 077 && mkdir -p "$state")
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$state/record"
    names="$names$2
"
}

# remembered NAME: succeed if the record has a line for this name. The names are read once, into a list of lines.
names=

remembered() {
    [ -n "$names" ] || names="
$([ ! -f "$state/record" ] || cut -f2 "$state/record")
"
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
            cp -a "$path" "$copy" && remember kept "$path" "$copy"
        fi
    done
}

remember_unit() {
    for unit; do
        # Docker creates this network for the first container on an overlay.
        [ "$unit" != docker.service ] || remember_network docker_gwbridge
        remember unit "$unit" "$(systemctl is-enabled "$unit" 2>/dev/null || true) $(systemctl is-active "$unit" 2>/dev/null || true)"
    done
}

remember_user() {
    id "$1" >/dev/null 2>&1 || remember user "$1" -
}

remember_network() {
    timeout 5 docker network inspect "$1" >/dev/null 2>&1 || remember network "$1" -
}

remember_image() {
    timeout 5 docker image inspect "$1" >/dev/null 2>&1 || remember image "$1" -
}

# put_back PATTERN: restore, from the record, all names that begin with one of the patterns (separated by |).
put_back() {
    [ -f "$state/record" ] || return 0
    sed '1!G;h;$!d' "$state/record" | while IFS=$tab read -r kind name value; do
        printf '%s\n' "$name" | grep -qE -- "^($1)" || continue
        # Temporary files of a change that was killed.
        case $name in /*) rm -rf -- "${name%/*}/.${name##*/}.overlay-provision" "$name.overlay-provision" ;; esac
        case $kind in
        absent) remove_path "$name" ;;
        folder) [ ! -d "$name" ] || { put_owner_back "${value#* }" "$name" && chmod "${value% *}" "$name"; } ;;
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
    : >"$state/record.new"
    while IFS=$tab read -r kind name value; do
        if [ "$kind" != "${2:-$kind}" ] || ! printf '%s\n' "$name" | grep -qE -- "^($1)"; then
            printf '%s\t%s\t%s\n' "$kind" "$name" "$value" >>"$state/record.new"
        elif [ "$kind" = kept ]; then
            printf '%s\n' "$value" >>"$state/forgotten"
        fi
    done <"$state/record"
    sync "$state/record.new" 2>/dev/null || sync
    mv -f "$state/record.new" "$state/record" && names=
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
