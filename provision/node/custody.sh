# Find the private keys on a node. POSIX sh; nothing is written. No private key is sent from the node or to it.

# custody_files FOLDER…: print kind, mode, owner and group, and path of each file below. The kind of a file with a key is key.
custody_files() {
    find "$@" -type f 2>/dev/null | while IFS= read -r file; do
        kind=other
        ! grep -q 'BEGIN CERTIFICATE' "$file" || kind=certificate
        ! grep -q 'PRIVATE KEY' "$file" || kind=key
        custody_stat "$kind" "$file"
    done
}

# custody_stat KIND PATH…: print the same of each path that exists; links are followed.
custody_stat() {
    kind=$1
    shift
    stat -L -c "$kind$tab%a$tab%U:%G$tab%n" -- "$@" 2>/dev/null
}

# custody_keys POINT… -- PLACE…: print each file that contains a private key, and the points that belong to a key in it.
# A point is an elliptic curve's public key in hex; PKCS #8, SEC 1 and OpenSSH all store it beside the private key. File
# names may contain any character: a name is never read as a line, and only its printable characters are printed.
custody_keys() {
    points=
    while [ "$1" != -- ]; do
        points="$points $1"
        shift
    done
    shift
    # Some places may not exist.
    find -H "$@" -xdev -type f -size -1025k -exec sh -c "$custody_look" sh "$points" {} + 2>/dev/null || true
}

# One grep finds the files with a key among many; only those are read. Escaped line ends (JSON) become real ones, and
# each BEGIN and END gets a line of its own. No key is in an argument list: printf is a shell builtin.
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

# custody_seen UNITS KEY…: print where a line of these keys can be seen: the key files, the arguments and environments of
# processes, and the journals of the units, a list of words (`journal`). Prints `read journal` if there was a journal to
# read. The lines are read from the key files on the node: none is sent, and none is in an argument list.
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
