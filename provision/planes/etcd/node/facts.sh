# Print facts of a node's member of the store. POSIX sh; provision/node/facts.sh comes before it.

# own_member WORD…: run a command of etcdctl at this node's own member.
own_member() {
    # shellcheck disable=SC1091 # our own, on the node
    (unset ETCDCTL_ENDPOINTS ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY # etcdctl refuses them beside its flags
        set -a && . /etc/etcd/etcd.env && ETCDCTL_API=3 timeout 4 etcdctl --command-timeout=3s -w json \
        --endpoints="$ETCD_ADVERTISE_CLIENT_URLS" --cacert="$ETCD_TRUSTED_CA_FILE" \
        --cert="$ETCD_CERT_FILE" --key="$ETCD_KEY_FILE" "$@" 2>/dev/null)
}

# own_keys WORD…: run a command of etcdctl for the keys that Docker uses, at this node's own member. Its errors are printed.
own_keys() {
    # shellcheck disable=SC1091 # our own, on the node
    (. /etc/etcd/etcd.env && ETCDCTL_API=2 timeout 4 etcdctl --no-sync --total-timeout 3s -o json \
        --endpoints "$ETCD_ADVERTISE_CLIENT_URLS" --ca-file "$ETCD_TRUSTED_CA_FILE" \
        --cert-file "$ETCD_CERT_FILE" --key-file "$ETCD_KEY_FILE" "$@")
}

# below KEY: print all below a key as this node's own member has it, without a quorum too: nothing where the member does not
# have the key. Fail if the member does not answer in time: then there may be more.
below() {
    found=$(own_keys ls --recursive "$1" 2>&1) || case $found in *'Key not found'*) found= ;; *) return 1 ;; esac
    printf '%s\n' "$found"
}

# fact_health URL…: print which of the members with these client URLs answer a read that needs a quorum.
fact_health() {
    for url; do ! own_member endpoint health --endpoints="$url" >/dev/null || printf '%s\n' "$url"; done |
        fact_encoded answer healthy
}

# fact_members: print the member list and the status of this node's own member.
fact_members() {
    is_active etcd.service && [ -f /etc/etcd/etcd.env ] || return 0
    own_member member list | fact_encoded answer members
    own_member endpoint status | fact_encoded answer member-status
}

# fact_endpoints ADDRESS…: print the endpoints of hosts without one of these addresses, as this node's own member has them.
fact_endpoints() {
    is_active etcd.service && [ -f /etc/etcd/etcd.env ] || return 0
    rows=$(below /docker/network/v1.0/endpoint) || return 0
    printf '%s\n' "$rows" | endpoints_elsewhere "$@" | fact_encoded answer endpoints
}

# endpoints_elsewhere ADDRESS… < JSON: print `NETWORK ID HOST NAME` for each of these endpoints. etcd gives an endpoint as a
# JSON text, with its fields in alphabetical order.
endpoints_elsewhere() {
    sed 's/"key":/\n&/g' | tr -d '\134' | sed -n \
        's|^"key":"[^"]*/\([0-9a-f]*\)/\([0-9a-f]*\)","value":"{.*"locator":"\([0-9][0-9.]*\)".*"name":"\([^"]*\)".*|\1 \2 \3 \4|p' |
        while read -r network id host name; do
            case " $* " in *" $host "*) ;; *) printf '%s %s %s %s\n' "$network" "$id" "$host" "$name" ;; esac
        done
}

# fact_store_data: print whether etcd's folder contains anything but data that was set aside or copied by a recovery, and
# what each new ext4 file system contains.
fact_store_data() {
    for entry in /var/lib/etcd/* /var/lib/etcd/.[!.]*; do
        case $entry in */removed-* | */before-recovery-* | */lost+found) continue ;; esac
        if [ -e "$entry" ] || [ -h "$entry" ]; then
            echo yes | fact_encoded answer store-data
            return
        fi
    done
}

# fact_store_log: print whether a member's log exists. etcd can recreate the rest of its data, but is no member without the log.
fact_store_log() {
    found=no
    for log in /var/lib/etcd/data/member/wal/*.wal; do [ ! -e "$log" ] || found=yes; done
    echo "$found" | fact_encoded answer store-log
}

# fact_store_in_use: print the members in the configuration with which dockerd joined the store, and its own address there.
fact_store_in_use() {
    sed -n 's/.*"cluster-store": "etcd:\/\/\([^"]*\)", "cluster-advertise": "\([^"]*\)".*/\1 \2/p' \
        /run/overlay-provision/daemon.json 2>/dev/null | fact_encoded answer store-in-use
}

# fact_store_endpoints: print the endpoints of all hosts that this node's own member has, without a quorum too. There is no
# answer where the member does not list them.
fact_store_endpoints() {
    [ -f /etc/etcd/etcd.env ] && rows=$(below /docker/network/v1.0/endpoint) || return 0
    printf '%s\n' "$rows" | endpoints_elsewhere | fact_encoded answer store-endpoints
}

# fact_store_keys: print the keys at the top of the tree that Docker uses too, and the first ones of etcd's third version, as
# this node's own member has them, without a quorum too.
fact_store_keys() {
    [ -f /etc/etcd/etcd.env ] || return 0
    own_keys ls / 2>/dev/null | fact_encoded answer store-keys
    own_member get '' --prefix --keys-only --limit=1000 --consistency=s | fact_encoded answer store-keys-v3
}

# fact_store_networks: print the names of the networks that this node's own member has, without a quorum too. There is no
# answer where the member does not list them.
fact_store_networks() {
    [ -f /etc/etcd/etcd.env ] && rows=$(below /docker/network/v1.0/network) || return 0
    printf '%s\n' "$rows" | sed 's/"key":/\n&/g' | tr -d '\134' |
        sed -n 's|^"key":"[^"]*/[0-9a-f]*","value":"{.*"name":"\([^"]*\)".*|\1|p' | fact_encoded answer store-networks
}
