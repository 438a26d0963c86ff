# Print whether hosts that are no nodes live. POSIX sh; facts.sh, mend.sh and store.sh come before it; needs bash.

gossip_port=7946

# fact_strangers ADDRESS…: print `alive ADDRESS` or `gone ADDRESS` for each host; nothing if the store does not answer.
fact_strangers() {
    {
        for address; do stranger "$address" & done
        wait
    } | fact_encoded answer strangers
}

# stranger ADDRESS: a dockerd lives if its gossip port answers, or if it renews its announcement in the store: every 20 s, for
# 60 s. If the last announcement is less than 25 s old, wait for the next one.
stranger() {
    # shellcheck disable=SC2016 # bash expands $0 and $1
    if timeout 2 bash -c ': 3<>"/dev/tcp/$0/$1"' "$1" "$gossip_port" 2>/dev/null; then
        printf 'alive %s\n' "$1"
        return
    fi
    left=$(announced "$1") || return
    if [ "$left" -gt 35 ]; then
        sleep $((left - 34))
        left=$(announced "$1") || return
    fi
    if [ "$left" -gt 35 ]; then printf 'alive %s\n' "$1"; else printf 'gone %s\n' "$1"; fi
}

# announced ADDRESS: print for how many seconds the host's announcement is still valid; 0 if there is none. Fails without a
# quorum.
announced() {
    answer=$(store --total-timeout 3s -o json ls --quorum /docker/nodes) || return
    left=$(printf '%s\n' "$answer" | sed 's/"key":/\n&/g' |
        sed -n 's|^"key":"/docker/nodes/'"$1"':[0-9]*".*"ttl":\([0-9]*\).*|\1|p')
    printf '%s\n' "${left:-0}"
}
