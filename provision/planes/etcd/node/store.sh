# The store, for programs that stay on a node. POSIX sh.

# store WORD…: run a command of etcdctl at the store, after the words of `within`. The list of members is read each time.
store() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    endpoints=https://$(printf %s "${OVERLAY_STORE#etcd://}" | sed 's|,|,https://|g')
    # shellcheck disable=SC2086 # words
    ETCDCTL_API=2 $within etcdctl --endpoints "$endpoints" --ca-file "$pki/store-ca.crt" --cert-file "$pki/store.crt" \
        --key-file "$pki/store.key" --timeout 2s "$@" 2>/dev/null
}

# put_names_back: restore the names of containers that were renamed when the program, or the host, ended.
put_names_back() {
    docker ps -a --format '{{.Names}}' | while read -r name; do
        case $name in *"$aside") docker rename "$name" "${name%"$aside"}" >/dev/null 2>&1 ;; esac
    done
}


# tell_outgrown: say that dockerd is too new for a cluster store, and what that means.
tell_outgrown() {
    echo "Docker $(cat "$outgrown") has no cluster store: no container on the cluster's networks starts here, others run." \
        "This unit waits for an older Docker; fab migrate --plan shows how the cluster goes on with swarm mode"
}
