# What a node tells of the keys on it. POSIX sh; nothing is written. No key leaves the node, and none comes to it.

# custody_files FOLDER…: kind, mode, owner and group, and path of each file below; a file that holds a key is one.
custody_files() {
    find "$@" -type f 2>/dev/null | while IFS= read -r file; do
        kind=other
        ! grep -q 'BEGIN CERTIFICATE' "$file" || kind=certificate
        ! grep -q 'PRIVATE KEY' "$file" || kind=key
        custody_stat "$kind" "$file"
    done
}

# custody_stat KIND PATH…: of each that is there, or that a link there leads to.
custody_stat() {
    kind=$1
    shift
    stat -L -c "$kind$tab%a$tab%U:%G$tab%n" -- "$@" 2>/dev/null
}

# custody_keys POINT… -- PLACE…: each file that holds a private key, with those of the points that are of a key in it. A
# point is the hex of an elliptic curve's public key; a private key is written with its own in PKCS #8, SEC 1 and OpenSSH
# alike. Strangers name files as they like: a name is never read as a line, and told in printable characters.
custody_keys() {
    points=
    while [ "$1" != -- ]; do
        points="$points $1"
        shift
    done
    shift
    # Some places are not there.
    find -H "$@" -xdev -type f -size -1025k -exec sh -c "$custody_look" sh "$points" {} + 2>/dev/null || true
}

# One grep for many files; the few it names are looked into. Escaped line ends (JSON) become real ones, and each mark has
# a line of its own. No key is in an argument list: printf is the shell's own.
# shellcheck disable=SC2016 # for the shell below find
custody_look='
points=$1
shift
named="
$(grep -l -e "-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----" -- "$@")
"
for file; do
    case $named in *"
$file
"*) ;; *) continue ;; esac
    found=$(sed -e "s/\\\\n/\\
/g" -e "s/-----[A-Z0-9 ]*-----/\\
&\\
/g" -- "$file" | {
        key=
        while read -r line; do
            case $line in
            "-----BEGIN "*"PRIVATE KEY-----"*) key=" " ;;
            "-----END "*)
                hex=$(printf %s "$key" | tr -cd "A-Za-z0-9+/=" | base64 -d | od -An -v -tx1 | tr -d " \n")
                for point in $points; do case $hex in *"$point"*) printf "%s " "$point" ;; esac; done
                key= ;;
            *) [ -z "$key" ] || key=$key$line ;;
            esac
        done
    })
    printf "%s\t%s\n" "$found" "$(printf %s "$file" | tr -c " -~" "?")"
done'

# custody_seen UNITS KEY…: where a line of these keys can be seen: the key itself, a process's arguments and environment, and
# the journals of the units, a list of words; and whether there was a journal to read, as `read journal`. Lines are looked
# for as they lie here: none is sent, and none is in an argument list.
custody_seen() {
    # shellcheck disable=SC2086 # a unit's name has no blank
    journal="journalctl -q -b -o cat$(printf ' -u %s' $1)"
    shift
    lines=$(grep -hv -e ----- -- "$@" 2>/dev/null)
    [ -n "$lines" ] || return 0
    printf '%s\n' "$lines" | grep -alF -f - -- "$@" /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
    [ -z "$($journal -n 1 2>/dev/null)" ] || echo read journal
    ! $journal 2>/dev/null | grep -aqF -f /dev/fd/3 3<<EOF || echo journal
$lines
EOF
}
