#!/bin/sh
# Mend what Docker gets wrong in swarm mode, as long as this host runs. Written by overlay-provision. POSIX sh.
#
# Containers. After its start, Docker starts a container of an attachable swarm network once. If that fails, for example
# because the managers elect a leader, or because the other hosts' gossip still holds this host's last life, the container
# stays down. It is started, as often as necessary. A dockerd that starts after it was killed stops the containers that
# still run, and treats those with the policy `unless-stopped` as stopped by their user. They are started too. A container
# that asks for an address that another has gets a new one.
#
# Gossip. A host may lose its peers on a network, although everything looks well: its containers reach no other host, and
# know no names. Docker usually finds the peers within a minute. They are watched, and what is seen is said.
#
# Managers. After a link was cut, their messages may wait for a minute and more in a connection that Docker keeps to. It is
# ended.
#
# Removal. A host that was away while the others gave it up leaves the swarm that it remembers: before its dockerd starts if
# one of the others answers then, see mend_before_start.sh, and otherwise when dockerd is told: see mend_removed.sh.
#
# Record. What each container should have, its networks and addresses, is recorded for the day on which Docker has forgotten
# it: see containers.sh. So are the networks: see former_swarm.sh.
#
# mend watch          mend, for ever
# mend before-start   leave the swarm if this host was removed from it; dockerd starts afterwards
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Nothing else of the environment that systemd or a unit gives changes what this program does.
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case $name in OVERLAY_* | LC_ALL | PATH | SHELLOPTS | BASHOPTS) ;; *) unset "$name" ;; esac
done
export DOCKER_HOST=unix:///var/run/docker.sock
export GOGC=off # docker's commands are short: without garbage collection they need a fifth less of the processor
peers_file=${OVERLAY_PEERS:-/etc/docker/overlay/peers} # the nodes' addresses, one a line; the variables are for tests
others_record=${OVERLAY_STATE:-/var/lib/overlay-provision}/others # which containers the nodes have on the networks
run=${OVERLAY_RUN:-/run/overlay-provision}
pidfile=${OVERLAY_PIDFILE:-/run/docker.pid}
count_file=$run/mend.started  # the number of containers started since the boot
dockerd_file=$run/mend.docker # the process of the dockerd that was seen last, and the time at which it began, if seen
looked=$run/mend.looked       # its mtime: when Docker was last asked for containers that could not start

managers_port=2377

quick=2        # seconds between two looks at what is wrong
slow=20        # seconds between two attempts to start containers, after many
many=10        # attempts
calm=10        # seconds between two looks at the files of Docker while nothing is wrong
rarely=60     # seconds between two looks at containers while nothing is wrong
gossip=30      # seconds between two looks at the peers while nothing is wrong
lasting=90     # seconds after which missing peers do not come back by themselves
hurry=120      # seconds after dockerd's start in which its files are looked at quickly

# docker WORD…: run a command of docker, unless Docker starts or stops: systemd would start it again for the command.
docker() {
    systemctl is-active -q docker.service && timeout 20 docker "$@"
}

# tell_time: set `now` to the seconds since the boot. No process is needed for that.
tell_time() {
    read -r now _ </proc/uptime
    now=${now%.*}
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

# say WORD…: print a line.
say() {
    printf '%s\n' "$*"
}

