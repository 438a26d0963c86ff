# Find the private keys on a node: their permissions, and copies. POSIX sh; nothing is written. No private key is sent.

# describe_key_files FOLDER…: print kind, mode, owner:group and path of each file below the folders. The kind is `key` for
# a file with a private key, `certificate`, or `other`.
describe_key_files() {
    find "$@" -type f 2>/dev/null | while IFS= read -r file; do
        kind=other
        ! grep -q 'BEGIN CERTIFICATE' "$file" || kind=certificate
        ! grep -q 'PRIVATE KEY' "$file" || kind=key
        describe_paths "$kind" "$file"
    done
}

# describe_paths KIND PATH…: print the same fields, with this kind, for each path that exists. Links are followed.
describe_paths() {
    kind=$1
    shift
    stat -L -c "$kind$tab%a$tab%U:%G$tab%n" -- "$@" 2>/dev/null
}

# find_private_keys POINT… -- PLACE…: print each file that contains a private key, after the POINTs that belong to a key in
# it. A point is an elliptic curve's public key in hex; PKCS #8, SEC 1 and OpenSSH store it beside the private key. A file
# name may contain any character: it is never read as a line, and only its printable characters are printed.
find_private_keys() {
    points=
    while [ "$1" != -- ]; do
        points="$points $1"
        shift
    done
    shift
    # Some places may not exist.
    find -H "$@" -xdev -type f -size -1025k -exec sh -c "$private_keys_of_files" sh "$points" {} + 2>/dev/null || true
}

# One grep finds the files with a key among many; only those are read. Escaped line ends (JSON) become real ones, and
# each BEGIN and END gets a line of its own. No key is in an argument list: printf is a shell builtin.
# shellcheck disable=SC2016 # for the shell below find
private_keys_of_files='
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

# find_key_leaks UNITS KEY…: print the places that contain a line of these key files: the files themselves, the arguments
# and environments of processes, and `journal` for the journals of UNITS, a list of words. Print `read journal` if there
# was a journal to read. The lines of the keys are not sent, and are in no argument list.
find_key_leaks() {
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
