# The port matrix on a node. POSIX sh; needs bash to send, systemd to listen, ss to see that the ports listen.
# At most some tens of processes run at once: few targets are served at a time.

# ports_listen FOLDER ADDRESS SECONDS PORT/PROTOCOL…: write what arrives on each port to FOLDER. Prints a line once all
# listen, and goes on until ports_heard ends the listeners. They also end with this script, and after SECONDS.
ports_listen() {
    folder=$1 address=$2 seconds=$3
    shift 3
    trap 'rm -rf "$folder"' EXIT
    trap 'exit 1' HUP INT TERM
    (umask 077 && mkdir -p "$folder")
    for port; do
        case $port in */udp) each=--datagram ;; *) each=--accept ;; esac
        # --foreground: the listener stays in this script's process group, which is killed when the controller is gone.
        # shellcheck disable=SC2016 # $0 is of the inner shell
        timeout --foreground "$seconds" systemd-socket-activate $each --inetd -l "$address:${port%/*}" \
            sh -c 'exec cat >>"$0"' "$folder/${port%/*}-${port#*/}" >/dev/null 2>>"$folder/log" &
        printf '%s %s\n' $! "${port%/*}-${port#*/}" >>"$folder/pids"
    done
    tries=0 pause=0.02
    until [ "$(ss -H -lntu "src $address" | grep -cE ":($(printf '%s|' "$@" | sed 's,/[a-z]*,,g; s/|$//')) ")" -ge $# ]; do
        tries=$((tries + 1))
        [ $tries -lt 10 ] || pause=0.2
        [ $tries -lt 150 ] || {
            cat "$folder/log" >&2
            die "cannot listen on $address, ports $*"
        }
        sleep $pause
    done
    echo listening
    wait
    # Where other processes had all the ports, no listener is left. ports_heard says so, and removes the folder.
    while [ -e "$folder" ]; do sleep 0.05; done
}

# ports_send WORDS SECONDS PAUSE < ADDRESS PORT/PROTOCOL…: send the words to each port of each line, datagrams three times,
# PAUSE apart. The words are on a line of their own, because a daemon that waits for its peer may have sent other data to
# the port before.
ports_send() {
    # shellcheck disable=SC2016 # these are bash's
    xargs -P 4 -L 1 timeout "$2" bash -c 'for port in "${@:3}"; do
            case $port in */tcp) printf "\n%s\n" "$0" >"/dev/tcp/$2/${port%/*}" & esac
        done
        for pause in 0 $1 $1; do
            sleep "$pause"
            for port in "${@:3}"; do
                case $port in */udp) printf "\n%s\n" "$0" >"/dev/udp/$2/${port%/*}" ;; esac
            done
        done
        wait' "$1" "$3" >/dev/null 2>&1 || true
}

# ports_knock < TARGET ADDRESS PORT: print `TARGET PORT` of each line to which no answer comes, when it is tried again too.
# A refusal is an answer.
ports_knock() {
    # shellcheck disable=SC2016 # these are of the inner shells
    xargs -r -P 16 -L 1 sh -c 'for seconds in 3 6; do
            timeout $seconds bash -c "exec 3<>/dev/tcp/\$0/\$1" "$1" "$2" 2>/dev/null
            [ $? -ge 124 ] || exit 0
        done
        printf "%s %s\n" "$0" "$2"'
}

# ports_sizes WORDS PAUSE SIZE… < TARGET ADDRESS PORT: what ports_sizes_of does, for each line, four at a time.
ports_sizes() {
    started=0
    while read -r target address port; do
        ports_sizes_of "$target" "$address" "$port" "$@" &
        started=$((started + 1))
        [ $((started % 4)) != 0 ] || wait
    done
    wait
}

# ports_sizes_of TARGET ADDRESS PORT WORDS PAUSE SIZE…: send a datagram of each size (bytes of an IPv4 packet, smallest first)
# below the link's MTU, then of the MTU itself, each twice because one may be lost. A link that carries less than its MTU
# drops the larger ones: none is fragmented until the kernel learns of a smaller path MTU. Prints `sent TARGET SIZE` for
# each size, and `told TARGET` if the kernel has learned of a smaller path MTU.
ports_sizes_of() {
    target=$1 address=$2 port=$3 words=$4 pause=$5
    sizes=
    shift 5
    route=$(ip -o -4 route get "$address") || return 0
    device=${route#* dev }
    most=$(cat "/sys/class/net/${device%% *}/mtu") || return 0
    for size; do [ "$size" -ge "$most" ] || sizes="$sizes $size"; done
    # One process sends all datagrams. Bash writes each line by itself and 4096 bytes at most: so a datagram begins
    # with a carriage return, and dd writes the larger ones. 30 is the headers of IPv4 and UDP (28), the carriage return
    # and the line feed. The pause is for the path to report that a datagram was too large: later ones are then
    # fragmented.
    # shellcheck disable=SC2016,SC2086 # these are bash's; a word a size
    timeout 20 bash -c 'exec 3>"/dev/udp/$1/$2" 4<> <(:)
        for size in "${@:4}"; do
            printf -v line "\r%-$((size - 30))s" "$0 $size"
            for pause in $3 0; do
                if [ "$size" -gt 4096 ]; then echo "$line" | dd bs=65536 count=1; else echo "$line"; fi >&3
                read -rt "$pause" <&4
            done
        done
        read -rt "$3" <&4' "$words" "$address" "$port" "$pause" $sizes "$most" >/dev/null 2>&1
    for size in $sizes "$most"; do printf 'sent %s %s\n' "$target" "$size"; done
    route=$(ip -o -4 route get "$address" 2>/dev/null)
    case $route in *' mtu '*) printf 'told %s\n' "$target" ;; esac
}

# ports_heard FOLDER RUN WAYS TRIES: print what arrived, as PORT-PROTOCOL LENGTH WORDS…, and end the listeners; looks up to
# so many times, a tenth of a second apart, until that many ways have arrived. Prints `taken PORT-PROTOCOL` if another
# process got the port first, such as one of our daemons that was restarting.
ports_heard() {
    tries=0 pause=0.02
    while [ $tries -lt "$4" ] && [ "$(cat_ways "$1" | awk -v run="$2" '$3 == run { print $1, $4 }' | sort -u | wc -l)" -lt "$3" ]; do
        tries=$((tries + 1))
        [ $tries -lt 5 ] || pause=0.1
        sleep $pause
    done
    cat_ways "$1"
    while read -r process way; do
        kill "$process" 2>/dev/null || printf 'taken %s\n' "$way"
    done <"$1/pids" || die "nobody listens any more: $1 is gone"
    rm -rf "$1"
}

cat_ways() {
    (cd "$1" && awk 'NF { sub(/^.*\r/, ""); size = length($0); sub(/ +$/, ""); print FILENAME, size, $0 }' [0-9]*-* 2>/dev/null)
}
