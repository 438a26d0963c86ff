# The port matrix on a node. POSIX sh; needs bash to send, systemd to listen, ss to see that the ports listen.

# ports_listen FOLDER ADDRESS SECONDS PORT/PROTOCOL…: write what arrives on each port to FOLDER; returns once all listen.
ports_listen() {
    folder=$1 address=$2 seconds=$3
    shift 3
    (umask 077 && mkdir -p "$folder")
    for port; do
        case $port in */udp) each=--datagram ;; *) each=--accept ;; esac
        # shellcheck disable=SC2016 # $0 is of the inner shell
        timeout "$seconds" systemd-socket-activate $each --inetd -l "$address:${port%/*}" \
            sh -c 'exec cat >>"$0"' "$folder/${port%/*}-${port#*/}" >/dev/null 2>>"$folder/log" &
        printf '%s %s\n' $! "${port%/*}-${port#*/}" >>"$folder/pids"
    done
    tries=0
    until [ "$(ss -H -lntu "src $address" | grep -cE ":($(printf '%s|' "$@" | sed 's,/[a-z]*,,g; s/|$//')) ")" -ge $# ]; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] || {
            cat "$folder/log" >&2
            die "cannot listen on $address, ports $*"
        }
        sleep 0.02
    done
}

# ports_send WORDS ADDRESS PORT/PROTOCOL…: send the words to each port at once, datagrams three times. The words are
# on a line of their own, because a daemon that waits for its peer may have sent other data to the port before.
ports_send() {
    words=$1 address=$2
    shift 2
    for port; do
        # shellcheck disable=SC2016 # these are bash's
        timeout 3 bash -c 'for pause in 0 ${4:+0.05 0.05}; do sleep "$pause"; printf "\n%s\n" "$0" >"/dev/$1/$2/$3" || exit; done' \
            "$words" "${port#*/}" "$address" "${port%/*}" "$(case $port in */udp) echo again ;; esac)" >/dev/null 2>&1 &
    done
}

# ports_knock TARGET ADDRESS PORT: print `TARGET PORT` if no answer comes within 3 s. A refusal is an answer.
ports_knock() {
    # shellcheck disable=SC2016 # these are bash's
    timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$2" "$3" 2>/dev/null
    [ $? -lt 124 ] || printf '%s %s\n' "$1" "$3"
}

# ports_sizes WORDS TARGET ADDRESS PORT SIZE…: send a datagram of each size (bytes of an IPv4 packet, smallest first)
# below the link's MTU, then of the MTU itself, each twice because one may be lost. A link that carries less than its MTU
# drops the larger ones: none is fragmented until the kernel learns of a smaller path MTU. Prints `sent TARGET SIZE` for
# each size, and `told TARGET` if the kernel has learned of a smaller path MTU.
ports_sizes() {
    words=$1 target=$2 address=$3 port=$4
    sizes=
    shift 4
    route=$(ip -o -4 route get "$address") || return 0
    device=${route#* dev }
    most=$(cat "/sys/class/net/${device%% *}/mtu") || return 0
    for size; do [ "$size" -ge "$most" ] || sizes="$sizes $size"; done
    # One process sends all datagrams. Bash writes each line by itself and 4096 bytes at most: so a datagram begins
    # with a carriage return, and dd writes the larger ones. 30 is the headers of IPv4 and UDP (28), the carriage return
    # and the line feed. The pause is for the path to report that a datagram was too large: later ones are then
    # fragmented.
    # shellcheck disable=SC2016,SC2086 # these are bash's; a word a size
    timeout 5 bash -c 'exec 3>"/dev/udp/$1/$2" 4<> <(:)
        for size in "${@:3}"; do
            printf -v line "\r%-$((size - 30))s" "$0 $size"
            for pause in 0.01 0; do
                if [ "$size" -gt 4096 ]; then echo "$line" | dd bs=65536 count=1; else echo "$line"; fi >&3
                read -rt "$pause" <&4
            done
        done' "$words" "$address" "$port" $sizes "$most" >/dev/null 2>&1
    for size in $sizes "$most"; do printf 'sent %s %s\n' "$target" "$size"; done
    route=$(ip -o -4 route get "$address" 2>/dev/null)
    case $route in *' mtu '*) printf 'told %s\n' "$target" ;; esac
}

# ports_heard FOLDER RUN WAYS: print what arrived, as PORT-PROTOCOL LENGTH WORDS…; waits up to 2 s for that many ways.
# Prints `taken PORT-PROTOCOL` if another process got the port first, such as one of our daemons that was restarting.
ports_heard() {
    tries=0
    while [ $tries -lt 100 ] && [ "$(cat_ways "$1" | awk -v run="$2" '$3 == run { print $1, $4 }' | sort -u | wc -l)" -lt "$3" ]; do
        tries=$((tries + 1))
        sleep 0.02
    done
    cat_ways "$1"
    while read -r process way; do
        kill "$process" 2>/dev/null || printf 'taken %s\n' "$way"
    done <"$1/pids"
    rm -rf "$1"
}

cat_ways() {
    (cd "$1" && awk 'NF { sub(/^.*\r/, ""); size = length($0); sub(/ +$/, ""); print FILENAME, size, $0 }' [0-9]*-* 2>/dev/null)
}
