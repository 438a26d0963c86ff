# What every script on a node may call. POSIX sh; needs coreutils or busybox, and systemd.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DOCKER_HOST=unix:///var/run/docker.sock # this node's, whatever context root has chosen
state=/var/lib/overlay-provision # what was here before us, for reset
tab=$(printf '\t')

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

fact() {
    line=$1
    shift
    for field; do line=$line$tab$field; done
    printf '%s\n' "$line"
}

# line_of FILE: its first line.
line_of() {
    [ ! -r "$1" ] || { read -r line <"$1" || true; printf %s "$line"; }
}

# stamp PATH VALUE: what is known of a file, true as long as inode, size and time of change stay the same. Reading
# 20 MB takes a tenth of a second, a question of every run.
stamp() {
    (umask 077 && mkdir -p "$state")
    known=$(grep -vF -- "$tab$1$tab" "$state/stamps" 2>/dev/null) || true
    printf '%s\n' "$known" "$2$tab$1$tab$(stat -L -c '%i %s %z' "$1")" >"$state/stamps.new"
    mv -f "$state/stamps.new" "$state/stamps"
}

# stamped FACT PATH: the fact, or failure where no stamp still holds.
stamped() {
    [ -r "$state/stamps" ] && now=$(stat -L -c '%i %s %z' "$2" 2>/dev/null) || return 1
    while IFS=$tab read -r known at when; do
        [ "$at$tab$when" != "$2$tab$now" ] || { fact "$1" "$2" "$known"; return 0; }
    done <"$state/stamps"
    return 1
}
