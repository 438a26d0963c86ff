# What a node tells of itself for a bundle. POSIX sh. Nothing is written; each part is bounded in time and in size.
# Private keys, environment values and arguments of containers are never sent; the rest is redacted on the controller.
# shellcheck disable=SC2016 # single quotes: scripts for another shell, and Docker's templates

part_seconds=5       # each part's own; all together have those that bundle_begin is told
journal_lines=3000   # of each unit, of this boot

# bundle_begin MARK SECONDS BYTES: parts are told apart by the mark, and cut at so many bytes.
bundle_begin() {
    mark=$1
    ends=$(($(date +%s) + $2))
    part_bytes=$3
}

# without_keys: a text without the private keys in it; one whose end is missing takes the rest with it.
without_keys() {
    sed '/-----BEGIN .*PRIVATE KEY/,/-----END .*PRIVATE KEY/d'
}

# part NAME COMMAND…: what a command says, on both streams, or that it was not waited for.
part() {
    printf '\n%s %s\n' "$mark" "$1"
    shift
    left=$((ends - $(date +%s)))
    if [ "$left" -le 0 ]; then
        echo "[not asked: the time for this node was up]"
        return 0
    fi
    [ "$left" -le "$part_seconds" ] || left=$part_seconds
    {
        timeout -k 1 "$left" "$@" 2>&1 </dev/null
        code=$?
        # coreutils and busybox say so each in their own way
        case $code in
        124 | 137 | 143) printf '\n[stopped after %s s]\n' "$left" ;;
        0) ;;
        *) printf '\n[exit code %s]\n' "$code" ;;
        esac
    } | without_keys | head -c "$part_bytes"
}

# part_file NAME PATH: a file of configuration, where there is one.
part_file() {
    [ ! -f "$2" ] || part "$1" cat -- "$2"
}

# part_script NAME SCRIPT WORD…: more than one command; the words are its $1 and on.
part_script() {
    name=$1 script=$2
    shift 2
    part "$name" sh -c "$script" sh "$@"
}

# part_if PROGRAM NAME COMMAND…: where there is such a program.
part_if() {
    program=$1
    shift
    ! command -v "$program" >/dev/null || part "$@"
}

# bundle_unit FOLDER UNIT
bundle_unit() {
    part "$1/status" systemctl status --no-pager --full --lines=0 "$2"
    part "$1/unit" systemctl cat --no-pager "$2"
    part "$1/properties" systemctl show --no-pager "$2"
    part "$1/journal" journalctl -b -u "$2" -n "$journal_lines" --no-pager -o short-iso-precise
}

bundle_system() {
    part system/versions sh -c 'cat /etc/os-release; uname -a; systemctl --version | head -n 1'
    part system/time sh -c 'date -u +%Y-%m-%dT%H:%M:%S.%NZ; uptime; timedatectl show'
    part system/disk sh -c 'df -hT; df -hi'
    part system/memory free -m
    part system/failed-units systemctl list-units --failed --no-legend --no-pager
    part system/kernel-messages sh -c 'dmesg | tail -n 300'
    part_script system/record 'cd "$1" && ls -la . kept; cat record stamps' "$state"
    part system/inputs sh -c 'cd /run/overlay-provision && grep -H . ./*.inputs'
}

bundle_docker() {
    bundle_unit docker docker.service
    part_if dockerd docker/version dockerd --version
    part docker/files sh -c 'ls -laR /etc/docker /etc/systemd/system/docker.service.d'
    part_file docker/daemon.json /etc/docker/daemon.json
    part_file docker/default /etc/default/docker
    command -v docker >/dev/null || return 0
    # A daemon that waits for its store answers nobody: once is enough to see it.
    if ! timeout -k 1 3 docker version >/dev/null 2>&1; then
        part docker/silent echo "docker version got no answer within 3 s; nothing more was asked"
        return 0
    fi
    part docker/info docker info
    part docker/containers docker ps -a --no-trunc \
        --format '{{.ID}} {{.Names}} {{.Image}} {{.Status}} {{.Ports}} {{.Networks}}'
    part docker/container-details sh -c 'docker ps -aq | xargs -r docker inspect --format "$1"' sh "$container_details"
    part docker/networks docker network ls --no-trunc
    part docker/network-details sh -c 'docker network ls -q | xargs -r docker network inspect'
    part docker/images docker images -a --digests
}

# Of a container: names of its environment, without values; no command, no arguments.
container_details='{"Id":{{json .Id}},"Name":{{json .Name}},"Created":{{json .Created}},"State":{{json .State}},"RestartCount":{{json .RestartCount}},"Image":{{json .Config.Image}},"Labels":{{json .Config.Labels}},"EnvironmentNames":[{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{json (index (split $e "=") 0)}}{{end}}],"RestartPolicy":{{json .HostConfig.RestartPolicy}},"NetworkMode":{{json .HostConfig.NetworkMode}},"Mounts":{{json .Mounts}},"NetworkSettings":{{json .NetworkSettings}}}'

bundle_network() {
    part network/addresses ip address
    part network/links ip -details link
    part network/routes sh -c 'ip rule; ip route show table all; ip -6 route'
    part network/neighbours ip neighbour
    part_if ss network/listeners ss -tulpn
    part_if bridge network/forwarding-database bridge fdb
    part_if nft network/nft nft list ruleset
    part_if iptables-save network/iptables iptables-save
    part network/sysctl sh -c 'sysctl -a 2>/dev/null | grep -E "^net\.(ipv4\.(ip_forward|conf\.[^.]+\.(forwarding|rp_filter))|bridge\.|netfilter\.nf_conntrack_(max|count))"'
    part network/resolvers sh -c 'cat /etc/resolv.conf /etc/hosts; hostname'
    # Where Docker keeps the vxlan of each overlay.
    part_script network/overlays 'for space in /run/docker/netns/*; do
        [ -e "$space" ] || continue
        echo "== $space"
        nsenter --net="$space" sh -c "ip -d link; ip address; ip neighbour; bridge fdb"
    done'
}

# bundle MARK SECONDS BYTES: all of it, what tells most first.
bundle() {
    bundle_begin "$@"
    bundle_plane
    bundle_docker
    bundle_network
    bundle_system
    printf '\n%s end\n' "$mark"
}
