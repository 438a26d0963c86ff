#!/bin/bash
# What `provision` does in swarm mode, done by hand with OpenSSH and shell, as fast as its author could: the measure for
# bench/run.py --release trixie. It starts from hosts with Docker at work, proves nothing, and knows no second run.
#
#   bench/by_hand_swarm.sh SSH_CONFIG IMAGE_ARCHIVE IMAGE NETWORK SUBNET NAME=ADDRESS NAME=ADDRESS...
#
# NAME is both the node's name and its alias in SSH_CONFIG; the user there is root or has sudo without a password.
# It prints the seconds of each part that nobody can avoid, their sum, and the whole.
set -euo pipefail
shopt -s inherit_errexit

[ $# -ge 6 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
ssh_config=$1 image_archive=$2 image=$3 network=$4 subnet=$5
shift 5

# shellcheck source=bench/by_hand_hosts.sh
. "${BASH_SOURCE[0]%/*}/by_hand_hosts.sh"

first=${names[0]}

# on NODE COMMAND: run a shell command there as root.
on() {
    "${connect[@]}" "$1" "sudo -n sh -c '$2'"
}

load() {
    on "$1" "docker load --quiet" <"$work/image.tar.gz" >/dev/null
}

# The token is on the standard input, never in an argument of a command on the controller.
join() {
    on "$1" "read -r token; docker swarm join --token \$token --advertise-addr ${address[$1]} \
        --listen-addr ${address[$1]} --data-path-addr ${address[$1]} ${address[$first]}:2377" <"$work/token" >/dev/null
}

probe() {
    on "$1" "docker run --detach --name by-hand-$1 --network $network $image sleep 86400" >/dev/null
}

gzip -1 -c "$image_archive" >"$work/image.tar.gz"

swarm_begun=$EPOCHREALTIME
own=${address[$first]}
on "$first" "docker swarm init --advertise-addr $own --listen-addr $own --data-path-addr $own >/dev/null &&
    docker swarm join-token --quiet manager" >"$work/token"
loads=()
for name in "${names[@]}"; do
    load "$name" & loads+=($!)
done
jobs=()
for name in "${names[@]:1}"; do
    join "$name" & jobs+=($!)
done
all "${jobs[@]}"

network_begun=$EPOCHREALTIME
on "$first" "docker network create --driver overlay --attachable --subnet $subnet $network" >/dev/null
all "${loads[@]}"

probes_begun=$EPOCHREALTIME
jobs=()
for name in "${names[@]}"; do
    probe "$name" & jobs+=($!)
done
all "${jobs[@]}"
ended=$EPOCHREALTIME

echo "$started $swarm_begun $network_begun $probes_begun $ended" | awk '
    function took(part, seconds) { printf "%-11s %7.3f\n", part, seconds; sum += seconds }
    { took("swarm", $3 - $2); took("network", $4 - $3); took("containers", $5 - $4); total = $5 - $1 }
    END { printf "%-11s %7.3f\n%-11s %7.3f\n", "unavoidable", sum, "total", total }'
