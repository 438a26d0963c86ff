# Diagnostics of a node for a bundle. POSIX sh. Nothing is written; each part is limited in time and in size.
# Private keys, environment values and arguments of containers are never sent; the rest is redacted on the controller.
# shellcheck disable=SC2016 # single quotes: scripts for another shell, and Docker's templates

part_seconds=5       # the limit for one part; bundle_begin sets the limit for all parts together
journal_lines=3000   # of each unit, since the last boot

# bundle_begin MARK SECONDS BYTES: set the mark before each part, the time limit for all, and the size limit of each.
bundle_begin() {
    mark=$1
    ends=$(($(date +%s) + $2))
    part_bytes=$3
}

# without_keys: copy stdin without private keys; if the end of a key is missing, the rest is dropped too.
without_keys() {
    sed '/-----BEGIN .*PRIVATE KEY/,/-----END .*PRIVATE KEY/d'
}

# part NAME COMMAND…: print the output of a command, stdout and stderr, and whether it failed or ran out of time.
part() {
    printf '\n%s %s\n' "$mark" "$1"
    shift
    seconds=$((ends - $(date +%s)))
    if [ "$seconds" -le 0 ]; then
        echo "[left out: the time for this node was up]"
        return 0
    fi
    [ "$seconds" -le "$part_seconds" ] || seconds=$part_seconds
    {
        timeout -k 1 "$seconds" "$@" 2>&1 </dev/null
        code=$?
        # coreutils and busybox have different exit codes for a timeout
        case $code in
        124 | 137 | 143) printf '\n[stopped after %s s]\n' "$seconds" ;;
        0) ;;
        *) printf '\n[exit code %s]\n' "$code" ;;
        esac
    } | without_keys | head -c "$part_bytes"
}

# part_file NAME PATH: print a configuration file, if it exists.
part_file() {
    [ ! -f "$2" ] || part "$1" cat -- "$2"
}

# part_script NAME SCRIPT WORD…: print the output of a script; the words are its arguments.
part_script() {
    name=$1 script=$2
    shift 2
    part "$name" sh -c "$script" sh "$@"
}

# part_if PROGRAM NAME COMMAND…: like part, if PROGRAM is installed.
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
    part_script system/record 'cd "$1" && ls -la . kept; cat record stamps containers' "$state"
    part system/inputs sh -c 'cd /run/overlay-provision && grep -H . ./*.inputs'
}

bundle_docker() {
    bundle_unit docker docker.service
    part_if dockerd docker/version dockerd --version
    part docker/files sh -c 'ls -laR /etc/docker /etc/systemd/system/docker.service.d'
    part_file docker/daemon.json /etc/docker/daemon.json
    part_file docker/default /etc/default/docker
    command -v docker >/dev/null || return 0
    # A dockerd that waits for its store answers no request: one attempt is enough to find out.
    if ! timeout -k 1 3 docker version >/dev/null 2>&1; then
        part docker/silent echo "docker version got no answer within 3 s; the other parts are left out"
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

# Details of a container: the names of its environment variables without the values; no command, no arguments.
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
    # Docker keeps the VXLAN interface of each overlay in a network namespace.
    part_script network/overlays 'for space in /run/docker/netns/*; do
        [ -e "$space" ] || continue
        echo "== $space"
        nsenter --net="$space" sh -c "ip -d link; ip address; ip neighbour; bridge fdb"
    done'
}

# bundle MARK SECONDS BYTES: print all parts, the most useful ones first.
bundle() {
    bundle_begin "$@"
    bundle_plane
    bundle_docker
    bundle_network
    bundle_system
    printf '\n%s end\n' "$mark"
}
