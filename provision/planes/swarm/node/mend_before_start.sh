# Before dockerd starts, ask the other managers whether this host was removed from its swarm. POSIX sh; mend_removed.sh comes
# before it.
#
# Several hosts that were given up and are back at once may be a majority of the swarm that they remember, and acknowledge
# changes until they are told that they were removed: see mend_removed.sh. A manager tells it to whoever calls it with the
# certificate of a removed host. So each manager calls the others before its dockerd starts. Only this answer counts, from a
# manager whose certificate the swarm's authority has signed. If nobody gives it in time, dockerd starts as always.
#
# The call is Raft.ResolveAddress, which changes nothing. It is written out, because hosts have openssl, and nothing that
# speaks HTTP/2.
patience=4 # seconds for all answers

# leave_before_start: leave the swarm that this host was removed from: take what its dockerd has of it away, and keep that.
leave_before_start() {
    root=$(docker_root) || return
    end_leaving
    [ -r "$root/swarm/state.json" ] || return 0
    if ! command -v openssl >/dev/null; then
        say "not asked: whether this host was removed from its swarm, for there is no openssl here"
        return 0
    fi
    certificates=$root/swarm/certificates
    subject=$(openssl x509 -in "$certificates/swarm-node.crt" -noout -subject -nameopt multiline 2>/dev/null)
    case $subject in *swarm-manager*) ;; *) return 0 ;; esac
    mine=$(printf '%s\n' "$subject" | sed -n 's/^ *commonName *= *\([a-z0-9]*\)$/\1/p')
    [ "$mine" ] && is_told_removed || return 0
    if put_by; then
        end_leaving
    else
        say "not left: the swarm that this host was removed from while it was away. $root/swarm cannot be renamed"
        return 1
    fi
}

# end_leaving: keep what this host has of swarms that it has left; also after a power cut, or when there is room at last.
end_leaving() {
    rm -rf "$root"/swarm.copied.*
    for left in "$root"/swarm.left.*; do
        [ -e "$left" ] || continue
        hold_after_leaving
        kept=$(free_name "$former_swarms/${left##*/swarm.left.}")
        if because=$(keep_swarm "$left" "$kept" 2>&1) && mv "$left" "$root/swarm.copied.${left##*/swarm.left.}"; then
            rm -rf "$root"/swarm.copied.*
            tell_left
        else
            tell_put_by "${because##*: }"
        fi
    done
}

# hold_after_leaving: hold the record of containers, unless this host has joined a swarm since it left.
hold_after_leaving() {
    [ ! -e "$root/swarm/docker-state.json" ] || return 0
    hold_containers 2>/dev/null || :
    begin_detaching 2>/dev/null || say "not held: the record of containers, $containers_record, for want of room"
}

# is_told_removed: ask all other managers that this host remembers, at once. Succeed if one of them answers that this host
# was removed.
is_told_removed() {
    others=$(tr '}' '\n' <"$root/swarm/state.json" | grep -v "\"$mine\"" | sed -n 's/.*"addr": *"\([^"]*\)".*/\1/p')
    rm -rf "$run"/asking.* # of a start that was killed
    [ "$others" ] && mkdir -p "$run" && asking=$(mktemp -d "$run/asking.XXXXXX") || return
    trap 'rm -rf "$asking"' EXIT
    trap 'exit 1' HUP INT TERM
    # Docker writes lines of its own into the file. A key that waits for the swarm to be unlocked is of no use here.
    sed '/^[A-Za-z-]*: /d; /^$/d' "$certificates/swarm-node.key" >"$asking/key"
    ! grep -q ENCRYPTED "$asking/key" || return
    call_of_manager >"$asking/call"
    for address in $others; do
        ask "$address" "$asking/answer-$address" &
    done
    wait
    removed=$(compressed "Permission denied: node $mine was removed from swarm") # other words may come before it
    [ "${#removed}" -ge 350 ] || return # 72 characters of five bits and more: nothing would be found in every answer
    for address in $others; do
        case $(in_hexadecimal "$asking/answer-$address" | in_bits) in *"$removed"*) return 0 ;; esac
    done
    return 1
}

# ask ADDRESS FILE: send the call to a manager, and write its answer to the file, until it is there or time is up.
ask() {
    turns=0
    { cat "$asking/call" && until is_answered "$2" || [ "$((turns += 1))" -gt "$((patience * 10))" ]; do sleep 0.1; done; } | {
        timeout "$patience" openssl s_client -quiet -no_ign_eof -connect "$1" -alpn h2 \
            -cert "$certificates/swarm-node.crt" -key "$asking/key" -CAfile "$certificates/swarm-root-ca.crt" \
            -verify_return_error -verify_hostname swarm-manager >"$2" 2>/dev/null
        : >"$2.ended"
    }
}

# is_answered FILE: succeed if the headers of an answer are there, or no answer will come.
is_answered() {
    [ ! -e "$1.ended" ] || return 0
    case $(in_hexadecimal "$1") in *010[45]00000001*) ;; *) return 1 ;; esac
}

in_hexadecimal() {
    od -An -v -tx1 "$1" 2>/dev/null | tr -d ' \n'
}

# call_of_manager: print the call: HTTP/2's first words, settings, headers with the fields of gRPC, and an empty message.
call_of_manager() {
    printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\000\000\000\004\000\000\000\000\000'
    printf '\000\000\132\001\004\000\000\000\001\203\207\004\047/docker.swarmkit.v1.Raft/ResolveAddress'
    printf '\001\015swarm-manager\017\020\020application/grpc\000\002te\010trailers'
    printf '\000\000\005\000\001\000\000\000\001\000\000\000\000\000'
}

# in_bits < hexadecimal: print the bits of hexadecimal digits.
in_bits() {
    awk "$print_bits"'{ for (i = 1; i <= length($0); i++) put(index("0123456789abcdef", substr($0, i, 1)) - 1, 4) }'
}

# compressed TEXT: print the bits of a text that HTTP/2 has compressed. The codes of RFC 7541, appendix B, count upwards
# through the characters of each length; those of eight bits and more are left out.
compressed() {
    printf '%s\n' "$1" | awk "$print_bits"'{
        for (i = 1; i <= length($0); i++) {
            letter = substr($0, i, 1)
            if (at = index("012aceiost", letter)) put(at - 1, 5)
            else if (at = index(" %-./3456789=A_bdfghlmnpru", letter)) put(at + 19, 6)
            else put(index(":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz", letter) + 91, 7)
        }
    }'
}

# shellcheck disable=SC2016 # awk's
print_bits='function put(code, bits,  power) {
    for (power = 1; --bits; power *= 2);
    for (; power >= 1; power /= 2) printf "%d", int(code / power) % 2
}
'
