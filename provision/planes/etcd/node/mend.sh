#!/bin/sh
# What Docker 20.10 gets wrong in ordinary life, mended for as long as this host runs. Written by overlay-provision. POSIX sh.
#
# Rows. Docker keeps a network's containers as rows in the network's namespace: the forwarding database says which host has
# a MAC address, the neighbour table which MAC address an IP address has. Docker never takes back a row that was written
# when two local containers talked, or when it had to ask other hosts. When that address moves to another host, the new
# place does not replace the old row, and the container is out of reach from here for good. The store knows where each
# container is: a row that says otherwise in two looks is written anew, and that of a container of this host is taken away.
# So is what a bridge has learned of such a container where it takes it for behind the tunnel, and so loses it.
#
# Endpoints. A dockerd that cannot reach the store leaves a removed container's endpoint there, with its name and its
# address, in the way of all hosts. One that no container here has is freed. One that is killed may leave a network's number
# of endpoints wrong, so that the network can never be removed. It is counted anew.
#
# Threads. When the last container leaves a network, Docker's thread that watched the network stays in a namespace that is
# gone, and is used for other work there. It is brought home.
#
# mend watch   for good
# mend names   names of containers that were set aside when the power went, put back
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DOCKER_HOST=unix:///var/run/docker.sock
pki=${OVERLAY_PKI:-/etc/docker/overlay} # the variables are for tests
run=${OVERLAY_RUN:-/run/overlay-provision}
spaces=${OVERLAY_SPACES:-/run/docker/netns}
pidfile=/run/docker.pid
count_file=$run/mend.rows # how many rows were mended since the boot
joined=$run/docker.joined # dockerd is on the store: see docker-store
left_away=$run/mend.away  # threads that were not brought home
keeper_file=$run/mend.keeper
aside=.overlay-mend       # ends the name of a container while an endpoint of its name is freed
endpoints_key=/docker/network/v1.0/endpoint
counts_key=/docker/network/v1.0/endpoint_count

quiet=8     # seconds between looks while nothing happens
settle=0.5  # from word of a change to the first look
again=0.7   # after a look that found something wrong
busy=1.5    # after one that found nothing wrong after a change
follow_up=3 # such looks
hurry=8     # looks in a row that may find something wrong, until the next change; what stays so cannot be mended
refresh=24  # quiet looks, after which the store is read again, whatever the watch has said

# store WORD...: a command of etcdctl at the store. Members and certificates are those of now.
store() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    endpoints=https://$(printf %s "${OVERLAY_STORE#etcd://}" | sed 's|,|,https://|g')
    ETCDCTL_API=2 etcdctl --endpoints "$endpoints" --ca-file "$pki/store-ca.crt" --cert-file "$pki/store.crt" \
        --key-file "$pki/store.key" --timeout 2s "$@" 2>/dev/null
}

docker() {
    timeout 20 docker "$@"
}

# is_line LINE TEXT
is_line() {
    case "
$2
" in *"
$1
"*) ;;
    *) return 1 ;;
    esac
}

# listed: the endpoints in the store: `endpoint NETWORK MAC ADDRESS HOST NAME ID SANDBOX`. Fails without a quorum.
listed() {
    answer=$(store --total-timeout 3s -o json ls --recursive --quorum "$endpoints_key") || return
    printf '%s\n' "$answer" | entries
}

# entries < JSON: etcd's, in which each endpoint is a JSON text, with its fields in the order of the alphabet.
entries() {
    id='[0-9a-f]*' address='[0-9.]*'
    sed 's/"key":/\n&/g' | tr -d '\134' | sed -n 's|^"key":"'"$endpoints_key/\($id\)/\($id\)"'","value":"{.*"ep_iface":{"addr":"\('"$address"'\)/.*"mac":"\([0-9a-f:]*\)".*"locator":"\('"$address"'\)".*"name":"\([^"]*\)".*"sandbox":"\('"$id"'\)".*|endpoint \1 \4 \3 \5 \6 \2 \7|p'
}

