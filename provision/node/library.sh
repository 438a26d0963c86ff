# Functions for every script on a node. POSIX sh; needs coreutils or busybox, and systemd.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DOCKER_HOST=unix:///var/run/docker.sock # this node's Docker, whatever context root has chosen
state=/var/lib/overlay-provision # the record of what was here before us, for reset
tab=$(printf '\t')

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# note WORD…: say what a person should know of what was done. The script goes on; the report has it among its warnings.
note() {
    printf 'note: %s\n' "$*" >&2
}

fact() {
    line=$1
    shift
    for field; do line=$line$tab$field; done
    printf '%s\n' "$line"
}

# line_of FILE: print the first line of the file, if it exists.
line_of() {
    [ ! -r "$1" ] || { read -r line <"$1" || true; printf %s "$line"; }
}

# stamp PATH VALUE: remember a value for a file. It is valid as long as the file's inode, size and time of change (ctime)
# are the same. Without it every run would hash 20 MB of programs, which takes a tenth of a second.
stamp() {
    (umask 077 && mkdir -p "$state")
    known=$(grep -vF -- "$tab$1$tab" "$state/stamps" 2>/dev/null) || true
    printf '%s\n' "$known" "$2$tab$1$tab$(stat -L -c '%i %s %z' "$1")" >"$state/stamps.new"
    mv -f "$state/stamps.new" "$state/stamps"
}

# stamped FACT PATH: print the remembered value as a fact; fail if none is valid.
stamped() {
    [ -r "$state/stamps" ] && now=$(stat -L -c '%i %s %z' "$2" 2>/dev/null) || return 1
    while IFS=$tab read -r known at when; do
        [ "$at$tab$when" != "$2$tab$now" ] || { fact "$1" "$2" "$known"; return 0; }
    done <"$state/stamps"
    return 1
}

# last_words UNIT…: print the last errors that the units' processes have written to the journal; their last lines if there is
# no error; and systemd's lines about them if they have written nothing.
last_words() {
    matches=$(for unit; do printf '_SYSTEMD_UNIT=%s\n' "$unit"; done)
    # shellcheck disable=SC2086 # a word a match
    said=$(journalctl $matches -n 80 --no-pager -o cat -q 2>/dev/null)
    if [ -z "$said" ]; then
        for unit; do set -- "$@" -u "$unit" && shift; done
        said=$(journalctl "$@" -n 80 --no-pager -o cat -q 2>/dev/null)
    fi
    errors=$(printf '%s\n' "$said" | grep -iE 'level"?[=:]"?(error|fatal|panic)|fail|panic|unable' | tail -n 5)
    printf '%s\n' "${errors:-$(printf '%s\n' "$said" | tail -n 8)}"
}

# docker_command < UNIT: print dockerd's last command line in what `systemctl cat` prints, but not that of our drop-in.
docker_command() {
    file='' line=''
    # shellcheck disable=SC2162 # without -r, a backslash at the end of a line continues it, as in the unit
    while read line; do
        case $line in
        '# /'*) file=${line##*/} ;;
        ExecStart=* | 'ExecStart '*=*) [ "$file" = 50-overlay.conf ] || command_line=${line#*=} ;;
        esac
    done
    printf '%s\n' "${command_line-}"
}

# docker_variables COMMAND < UNIT: print the variables of the command line that are in the unit's environment files, after
# the name of each file.
docker_variables() {
    names=$(printf '%s\n' "$1" | tr -d '{}' | tr -c 'A-Za-z0-9_$\n' '\n' | sed -n 's/^\$\(..*\)/^ *\1=/p')
    [ -n "$names" ] || return 0
    sed -n 's/^ *EnvironmentFile *= *-\{0,1\}//p' | while read -r file; do
        [ ! -r "$file" ] || { printf '# %s\n' "$file" && grep "$names" "$file"; }
    done
}

# docker_flag NAME WORDS: print the value of a flag on a command line, the last one. In a subshell, for its `set -f`.
docker_flag() (
    set -f
    value='' before=''
    # shellcheck disable=SC2086 # a word a flag
    for word in $(printf %s "$2" | tr -d "\"'"); do
        case $word in "--$1="*) value=${word#*=} ;; esac
        [ "$before" != "--$1" ] || value=$word
        before=$word
    done
    printf %s "$value"
)

# docker_root_of WORDS: print the folder in which a dockerd with this command line keeps its data, as the flag or the file of
# its configuration says. Fail where the file is there and cannot be read.
docker_root_of() {
    place=$(docker_flag data-root "$1") config=$(docker_flag config-file "$1")
    config=${config:-/etc/docker/daemon.json} in_file=
    [ ! -e "$config" ] || in_file=$(sed -n 's/.*"data-root" *: *"\([^"]*\)".*/\1/p' "$config") || return 1
    place=${in_file:-$place}
    printf '%s\n' "${place:-/var/lib/docker}"
}

# configured_docker_root: print the folder in which this host's dockerd keeps its data when it starts. Fail as docker_root_of.
configured_docker_root() {
    unit_text=$(systemctl cat docker.service 2>/dev/null)
    words=$(printf '%s\n' "$unit_text" | docker_command)
    docker_root_of "$words $(printf '%s\n' "$unit_text" | docker_variables "$words" | sed '/^#/d; s/^[^=]*=//')"
}

# stop_unit UNIT: stop a unit whose data is about to be moved or deleted. Die with its state if it is not stopped then.
stop_unit() {
    said=$(timeout 120 systemctl stop "$1" 2>&1) || true # it may be unknown, and then nothing of it runs
    require_stopped "$1" "$said"
}

# require_stopped UNIT [WORDS]: die, with the unit's state and systemd's words, unless the unit is stopped.
require_stopped() {
    unit_state=$(systemctl show -p ActiveState --value "$1" 2>/dev/null) || true
    case $unit_state in
    inactive | failed) ;;
    *) die "$1 does not stop, and nothing of it is removed: its state is ${unit_state:-unknown}${2:+; $2}" ;;
    esac
}

# await_upgrade SECONDS: wait, at most so long, until an upgrade of Docker has ended that a run has left to itself, and until
# dockerd is in its cluster again. Set $waited to `yes` if there was one.
await_upgrade() {
    deadline=$(($(date +%s) + $1)) waited=
    while [ -e "${OVERLAY_RUN:-/run}/systemd/transient/overlay-upgrade.service" ] && [ "$(date +%s)" -lt "$deadline" ]; do
        sleep 1
        waited=yes
    done
    while [ -n "$waited" ] && left=$((deadline - $(date +%s))) && [ "$left" -gt 0 ]; do
        case $(timeout "$((left < 10 ? left : 10))" docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.Error}}' 2>/dev/null) in
        'active ' | 'inactive ') break ;;
        esac
        sleep 1
    done
}
