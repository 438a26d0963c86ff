#!/bin/sh
# Mend what Docker 20.10 gets wrong in ordinary life, as long as this host runs. Written by overlay-provision. POSIX sh.
#
# Rows. Docker keeps a network's containers as rows in the network's namespace: the forwarding database maps a MAC address
# to a host, the neighbour table an IP address to a MAC address. Docker never removes a row that it wrote when two local
# containers sent to each other, or when it had to ask other hosts. If the address moves to another host, the old row stays,
# and the container cannot be reached from here again. The store knows the host of each container. A row that contradicts
# the store in two looks is corrected; a row for a container of this host is removed. So is an entry in a bridge's table
# that places a container of this host behind the tunnel.
#
# Endpoints. A dockerd that cannot reach the store leaves a removed container's endpoint there. Its name and its address
# stay taken on all hosts. An endpoint of this host without a container is freed. A dockerd that is killed may leave a
# network's number of endpoints wrong, and then the network can never be removed. The number is corrected.
#
# Names. A dockerd reads the names on a network when the number of the network's endpoints changes. It may miss that: while
# a container joins, or if the thread that reads is not in the host's namespace. Then a container's name is unknown here until
# the next change. If the name stays unknown, the same number is written again.
#
# Threads. When the last container leaves a network, Docker's thread that watched the network stays in the namespace, which
# is gone, and Docker uses the thread for other work. It is brought back to the host's namespace.
#
# Silence. A watch that waits at a member of the store whose host was switched off hears nothing, and Docker notices that
# only after five minutes. Until then no new name is known here. Connections to members that do not answer are ended. So are
# those on which the same packet is sent again and again, although the other end answers: see connections.sh.
#
# Record. What each container should have, its networks and addresses, is recorded for the day on which Docker has forgotten
# it: see containers.sh.
#
# mend watch   mend, for ever
# mend names   restore the names of containers that were renamed when the power went
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Nothing else of the environment that systemd or a unit gives changes what this program does.
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case $name in OVERLAY_* | LC_ALL | PATH | SHELLOPTS | BASHOPTS) ;; *) unset "$name" ;; esac
done
export DOCKER_HOST=unix:///var/run/docker.sock
pki=${OVERLAY_PKI:-/etc/docker/overlay} # the variables are for tests
run=${OVERLAY_RUN:-/run/overlay-provision}
spaces=${OVERLAY_SPACES:-/run/docker/netns}
pidfile=${OVERLAY_PIDFILE:-/run/docker.pid}
connections=${OVERLAY_CONNECTIONS:-/proc/net/tcp}
store_port=2379
peer_port=2380
gossip_port=7946
count_file=$run/mend.rows     # the number of rows mended since the boot
joined=$run/docker.joined     # exists while dockerd is on the store: see docker-store
outgrown=$run/docker.outgrown # exists while dockerd is too new for a store: see docker-store
left_away=$run/mend.away      # the threads that could not be brought back
keeper_file=$run/mend.keeper
within= # no limit for a command of etcdctl: one watches
aside=.overlay-mend       # the suffix of a container's name while an endpoint of that name is freed
endpoints_key=/docker/network/v1.0/endpoint
counts_key=/docker/network/v1.0/endpoint_count

quiet=8     # seconds between two looks while nothing changes
settle=0.5  # seconds from a change in the store to the first look
again=0.7   # seconds after a look that found an error
busy=1.5    # seconds after a look that found no error, soon after a change
follow_up=3 # the number of such looks after a change
hurry=8     # the number of quick looks that may find errors after a change; what is still wrong then cannot be mended
refresh=24  # the number of quiet looks after which the store is read again, without a change

docker() {
    timeout 20 docker "$@"
}

# is_line LINE TEXT: succeed if the text contains the line.
is_line() {
    case "
$2
" in *"
$1
"*) ;;
    *) return 1 ;;
    esac
}

# listed: print the endpoints in the store: `endpoint NETWORK MAC ADDRESS HOST NAME ID SANDBOX`, and the name of each by
# which others find it: `name NETWORK ID HOST ADDRESS NAME`. Fails without a quorum.
listed() {
    answer=$(store --total-timeout 3s -o json ls --recursive --quorum "$endpoints_key") || return
    printf '%s\n' "$answer" | entries
}

# entries < JSON: parse etcd's answer, in which each endpoint is a JSON text with its fields in alphabetical order. A
# container that its user gave no name has the beginning of its ID among its aliases.
entries() {
    id='[0-9a-f]*' address='[0-9.]*'
    key='^"key":"'$endpoints_key/'\('$id'\)/\('$id'\)","value":"{'
    addressed='"ep_iface":{"addr":"\('$address'\)/.*' located='"locator":"\('$address'\)".*' named='"name":"\([^"]*\)".*'
    sed 's/"key":/\n&/g' | tr -d '\134' | sed -n "h
        s|$key.*$addressed\"mac\":\"\([0-9a-f:]*\)\".*$located$named\"sandbox\":\"\($id\)\".*|endpoint \1 \4 \3 \5 \6 \2 \7|p;g
        /\"disableResolution\":true/d
        s|$key\"anonymous\":false.*$addressed$located$named|name \1 \2 \4 \3 \5|p
        s|$key\"anonymous\":true.*$addressed$located\"myAliases\":\[[^]]*\"\([0-9a-f]\{12\}\)\".*|name \1 \2 \4 \3 \5|p"
}

