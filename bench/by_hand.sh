#!/bin/bash
# What `provision` does, done by hand with OpenSSH and shell, as fast as its author could: the measure for bench/run.py.
# It starts from nothing, proves nothing, and knows no second run.
#
#   bench/by_hand.sh SSH_CONFIG ETCD_ARCHIVE IMAGE_ARCHIVE IMAGE NETWORK SUBNET NAME=ADDRESS NAME=ADDRESS...
#
# NAME is both the node's name and its alias in SSH_CONFIG; the user there is root or has sudo without a password.
# It prints the seconds of each part that nobody can avoid, their sum, and the whole.
set -euo pipefail
shopt -s inherit_errexit

[ $# -ge 7 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
ssh_config=$1 etcd_archive=$2 image_archive=$3 image=$4 network=$5 subnet=$6
shift 6

# shellcheck source=bench/by_hand_hosts.sh
. "${BASH_SOURCE[0]%/*}/by_hand_hosts.sh"

### Certificates: an authority each for etcd's peers, etcd's clients and the Docker API.

printf '[req]\ndistinguished_name=name\n[name]\n' >"$work/openssl.conf"

# certificate FILE DAYS EXTENSIONS... [-CA ... -CAkey ...]
certificate() {
    local file=$1 days=$2
    shift 2
    openssl req -x509 -config "$work/openssl.conf" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 \
        -keyout "$file.key" -out "$file.crt" -days "$days" -subj "/CN=${file##*/}" "$@" 2>/dev/null
}

authority() {
    certificate "$work/$1" 3650 -addext basicConstraints=critical,CA:true,pathlen:0 -addext keyUsage=critical,keyCertSign
}

# leaf AUTHORITY FILE PURPOSES [ADDRESS]
leaf() {
    certificate "$2" 825 -CA "$work/$1.crt" -CAkey "$work/$1.key" -addext basicConstraints=critical,CA:false \
        -addext keyUsage=critical,digitalSignature -addext "extendedKeyUsage=$3" ${4:+-addext "subjectAltName=IP:$4"}
}

# leaves NODE: four at once, laid out as they will be there.
leaves() {
    local etcd=$work/$1/etc/etcd/pki docker=$work/$1/etc/docker/overlay jobs=()
    mkdir -p "$etcd" "$docker"
    leaf peer "$etcd/peer" serverAuth,clientAuth "${address[$1]}" & jobs+=($!)
    leaf client "$etcd/server" serverAuth,clientAuth "${address[$1]}" & jobs+=($!)
    leaf client "$docker/store" clientAuth & jobs+=($!)
    leaf docker "$docker/server" serverAuth "${address[$1]}" & jobs+=($!)
    all "${jobs[@]}"
    cp "$work/peer.crt" "$etcd/peer-ca.crt"
    cp "$work/client.crt" "$etcd/client-ca.crt"
    cp "$work/client.crt" "$docker/store-ca.crt"
    cp "$work/docker.crt" "$docker/ca.crt"
}

### Units.

etcd_unit() {
    cat <<UNIT
[Unit]
Description=etcd
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
User=etcd
Group=etcd
Environment=ETCD_NAME=$1
Environment=ETCD_DATA_DIR=/var/lib/etcd/data
Environment=ETCD_INITIAL_CLUSTER=$2
Environment=ETCD_INITIAL_CLUSTER_STATE=new
Environment=ETCD_INITIAL_ADVERTISE_PEER_URLS=https://${address[$1]}:2380
Environment=ETCD_LISTEN_PEER_URLS=https://${address[$1]}:2380
Environment=ETCD_LISTEN_CLIENT_URLS=https://${address[$1]}:2379
Environment=ETCD_ADVERTISE_CLIENT_URLS=https://${address[$1]}:2379
Environment=ETCD_ENABLE_V2=true ETCD_PRE_VOTE=true ETCD_LOGGER=zap
Environment=ETCD_HEARTBEAT_INTERVAL=100 ETCD_ELECTION_TIMEOUT=1000 ETCD_SNAPSHOT_COUNT=10000
Environment=ETCD_PEER_CLIENT_CERT_AUTH=true ETCD_PEER_TRUSTED_CA_FILE=/etc/etcd/pki/peer-ca.crt
Environment=ETCD_PEER_CERT_FILE=/etc/etcd/pki/peer.crt ETCD_PEER_KEY_FILE=/etc/etcd/pki/peer.key
Environment=ETCD_CLIENT_CERT_AUTH=true ETCD_TRUSTED_CA_FILE=/etc/etcd/pki/client-ca.crt
Environment=ETCD_CERT_FILE=/etc/etcd/pki/server.crt ETCD_KEY_FILE=/etc/etcd/pki/server.key
ExecStart=/usr/local/bin/etcd
Restart=on-failure
RestartSec=2
LimitNOFILE=65536
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=/var/lib/etcd
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077

[Install]
WantedBy=multi-user.target
UNIT
}

# VENDOR stands for the node's own command line, which the node fills in.
docker_drop_in() {
    cat <<UNIT
[Unit]
After=etcd.service
Wants=etcd.service

[Service]
ExecStart=
ExecStart=VENDOR -H tcp://${address[$1]}:2376 --tlsverify --tlscacert=/etc/docker/overlay/ca.crt \\
    --tlscert=/etc/docker/overlay/server.crt --tlskey=/etc/docker/overlay/server.key \\
    --cluster-store=etcd://$2 --cluster-advertise=${address[$1]}:2376 \\
    --cluster-store-opt=kv.cacertfile=/etc/docker/overlay/store-ca.crt \\
    --cluster-store-opt=kv.certfile=/etc/docker/overlay/store.crt \\
    --cluster-store-opt=kv.keyfile=/etc/docker/overlay/store.key
UNIT
}

# units NODE: likewise.
units() {
    local members="" endpoints="${address[$1]}:2379" other systemd=$work/$1/etc/systemd/system
    for other in "${names[@]}"; do
        members+="${members:+,}$other=https://${address[$other]}:2380"
        [ "$other" = "$1" ] || endpoints+=",${address[$other]}:2379"
    done
    mkdir -p "$systemd/docker.service.d"
    etcd_unit "$1" "$members" >"$systemd/etcd.service"
    docker_drop_in "$1" "$endpoints" >"$systemd/docker.service.d/50-overlay.conf"
}

### Delivery: one stream a node, of the installer and the image, the etcd archive as it is, and the node's own files,
### which are made while the archive is under way.

# The node's part, run there as root in /, with the rest of the stream on its standard input.
installer() {
    cat <<'SCRIPT'
set -eu
umask 022
id etcd >/dev/null 2>&1 || useradd --system --user-group --home-dir /var/lib/etcd --no-create-home --shell /usr/sbin/nologin etcd
docker load --quiet --input /var/lib/by-hand/image.tar.gz >/dev/null &
loading=$!
mkdir -p /usr/local/lib/etcd/release /etc/systemd/system/multi-user.target.wants
head -c "$1" | tar -xz --no-same-owner --strip-components=1 -C /usr/local/lib/etcd/release
tar -x
echo pushed
vendor=$(sed -n 's/^ExecStart=//p' "$(systemctl show --value --property=FragmentPath docker.service)")
sed -i "s|VENDOR|$vendor|" /etc/systemd/system/docker.service.d/50-overlay.conf
ln -sfn /usr/local/lib/etcd/release/etcd /usr/local/lib/etcd/release/etcdctl /usr/local/bin
ln -sfn /etc/systemd/system/etcd.service /etc/systemd/system/multi-user.target.wants/etcd.service
install -d -m 0700 -o etcd -g etcd /var/lib/etcd
chown -R etcd:etcd /etc/etcd/pki
chmod 0400 /etc/etcd/pki/*.key /etc/docker/overlay/*.key
chmod 0700 /etc/etcd/pki /etc/docker/overlay
systemctl daemon-reload
echo configured
systemctl start etcd.service
echo quorum
wait "$loading"
rm -r /var/lib/by-hand
echo loaded
systemctl restart docker.service || systemctl start docker.service
echo docker
SCRIPT
}

# What a node says gets the time at which it said it.
deliver() {
    local name=$1 word
    {
        tar -c --owner=0 --group=0 -C "$work/common" .
        cat "$etcd_archive"
        leaves "$name" </dev/null
        units "$name"
        (cd "$work/$name" && find . -type f | tar -c --owner=0 --group=0 -T -)
    } | "${connect[@]}" "$name" "sudo -n sh -c 'echo begun; cd /var/lib && mkdir by-hand && tar -x -C by-hand &&
            cd / && exec sh /var/lib/by-hand/install $(stat -L -c %s "$etcd_archive")'" |
        while read -r word; do
            echo "$EPOCHREALTIME $word"
        done
}

probe() {
    "${connect[@]}" "$1" "sudo -n docker run --detach --name by-hand-$1 --network $network $image sleep 86400" >/dev/null
}

### The run.

mkdir "$work/common"
installer >"$work/common/install"
gzip -1 -c "$image_archive" >"$work/common/image.tar.gz" & jobs=($!)
for name in peer client docker; do
    authority "$name" & jobs+=($!)
done
all "${jobs[@]}"

jobs=()
for name in "${names[@]}"; do
    deliver "$name" >"$work/$name.log" & jobs+=($!)
done
leaf client "$work/store-controller" clientAuth & jobs+=($!)
leaf docker "$work/docker-controller" clientAuth & jobs+=($!)
all "${jobs[@]}"

network_begun=$EPOCHREALTIME
"${connect[@]}" "${names[0]}" "sudo -n docker network create --driver overlay --subnet $subnet $network" >/dev/null

probes_begun=$EPOCHREALTIME
jobs=()
for name in "${names[@]}"; do
    probe "$name" & jobs+=($!)
done
all "${jobs[@]}"
ended=$EPOCHREALTIME

### What it took.

# The longest that any node took from one word to another.
span() {
    local name
    for name in "${names[@]}"; do
        awk -v from="$1" -v to="$2" '{ at[$2] = $1 } END { print at[to] - at[from] }' "$work/$name.log"
    done | sort -n | tail -1
}

{
    echo "push $(span begun pushed)"
    echo "quorum $(span configured quorum)"
    echo "docker $(span loaded docker)"
    echo "$network_begun $probes_begun $ended $started"
} | awk '
    NF == 2 { took($1, $2) }
    NF == 4 { took("network", $2 - $1); took("containers", $3 - $2); total = $3 - $4 }
    END { printf "%-11s %7.3f\n%-11s %7.3f\n", "unavoidable", sum, "total", total }
    function took(part, seconds) { printf "%-11s %7.3f\n", part, seconds; sum += seconds }'
