# Send many bytes from one probe's network to another's. POSIX sh; needs bash to send, systemd and ss to listen.

# bulk_listen FOLDER ADDRESS PORT SECONDS: compute the SHA-256 of what arrives on the port; returns once it listens.
bulk_listen() {
    (umask 077 && mkdir -p "$1")
    # shellcheck disable=SC2016 # $0 is of the inner shell
    timeout "$4" systemd-socket-activate --accept --inetd -l "$2:$3" \
        sh -c 'sha256sum >"$0/part" && mv "$0/part" "$0/sum"' "$1" >/dev/null 2>>"$1/log" &
    printf '%s\n' $! >"$1/pid"
    tries=0
    until ss -H -lnt "src $2" | grep -q ":$3 "; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || {
            cat "$1/log" >&2
            die "cannot listen on $2, port $3"
        }
        sleep 0.05
    done
}

# bulk_send FOLDER ADDRESS PORT BYTES SECONDS: send that many random bytes, and print their SHA-256.
bulk_send() {
    (umask 077 && mkdir -p "$1")
    mkfifo "$1/copy"
    sha256sum <"$1/copy" &
    # shellcheck disable=SC2016 # these are bash's
    head -c "$4" /dev/urandom | tee "$1/copy" | timeout "$5" bash -c 'exec cat >"/dev/tcp/$0/$1"' "$2" "$3" 2>/dev/null
    wait
    rm -rf "$1"
}

# bulk_heard FOLDER: print the SHA-256 of what arrived; waits up to 2 s for the last bytes.
bulk_heard() {
    tries=0
    until [ -f "$1/sum" ] || [ $tries -ge 40 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    cat "$1/sum" 2>/dev/null
    kill "$(cat "$1/pid")" 2>/dev/null
    rm -rf "$1"
}
