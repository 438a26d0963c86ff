# Another version of Docker on a node. POSIX sh; record.sh, changes.sh, packages.sh and upgrade_facts.sh come before it.
# shellcheck disable=SC2030,SC2031,SC2034 # a subshell has a record of its own, which is meant

# offered_version PACKAGE BEGINNING: print the latest version of a package that apt knows and that begins like this.
offered_version() {
    offered_versions "$1" | while read -r version; do
        case ${version#*:} in "$2" | "$2"[!0-9]*) printf %s "$version" && break ;; esac
    done
}

# upgrade_package PACKAGE BEGINNING SECONDS: install the latest version of the package that begins like this, and the same
# of Docker's client where that is a package of its own. Where apt has no such version, only complete what dpkg has begun.
upgrade_package() {
    await_upgrade "$3"
    package=$1 beginning=$2 seconds=$3 client=${1%.io}-cli held=
    case $client in *-cli-cli) client=${client%-cli} ;; esac
    version=$(offered_version "$1" "$2")
    set --
    if [ -n "$version" ]; then
        set -- "$package=$version"
        ! offered_versions "$client" | grep -qxF "$version" || set -- "$@" "$client=$version"
        remember_added_by "$@"
    fi
    for name; do
        [ "$(docker_holder "${name%%=*}")" != ours ] || held="$held${name%%=*} "
    done
    for name in $(replaced_by "$@"); do
        set -- "$@" "$name-"
    done
    run_upgrade "$seconds" "$beginning" "$held" dpkg "$@"
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || status=
    case $status in
    *' ok installed' | *' not-installed' | '') ;;
    *) die "the package $package is not wholly installed ($status): apt-get install --reinstall $package" ;;
    esac
}

# run_upgrade SECONDS VERSION WORDS…: restart Docker with another version. The words are for $upgrade_unit. systemd does it in
# a unit of its own: it ends even if this run is killed meanwhile.
run_upgrade() {
    seconds=$1 version=$2
    shift 2
    timeout "$seconds" systemd-run --quiet --collect --wait --unit overlay-upgrade.service \
        /bin/sh -c "$upgrade_unit" sh "$@" || {
        printf 'Docker %s was not installed. The journal of overlay-upgrade.service ends:\n' "$version" >&2
        last_words overlay-upgrade.service >&2
        exit 1
    }
    run_unit start docker.service 120
}

# replaced_by NAME=VERSION…: print the packages in whose place the upgrade puts others, if all of them are there only because
# others needed them (Docker's tini gives way to tini-static). With any other package, print nothing: then apt refuses.
replaced_by() (
    [ $# != 0 ] || return 0
    apt_get --simulate --no-install-recommends --allow-change-held-packages install "$@" || return 0
    replaced=$(printf '%s\n' "$apt_words" | sed -n 's/^Remv \([^ ]*\).*/\1/p')
    for name in $replaced; do
        apt-mark showauto "$name" 2>/dev/null | grep -q . || return 0
    done
    printf '%s\n' "$replaced"
)

# remember_added_by NAME=VERSION…: if Docker is ours, record the packages that the upgrade adds, so that a reset removes them.
remember_added_by() (
    [ -f "$state/docker/record" ] || return 0
    state=$state/docker names=
    apt_get --simulate --no-install-recommends --allow-change-held-packages install "$@" || true # the upgrade tells why
    remember_added
)

# What the unit runs. Its words: the packages that we hold, in one word; `dpkg` where Docker is from a package, or nothing;
# the packages to install, and those to remove, as `NAME-`. They are downloaded while Docker runs. Docker is started again
# whatever becomes of them.
# shellcheck disable=SC2016 # the unit's shell expands it
upgrade_unit='
set -u
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
held=$1 dpkg=$2
shift 2
get() {
    case "$* " in *"- "*) no_more= ;; *) no_more=--no-remove ;; esac
    apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        --no-install-recommends $no_more install "$@"
}
started=yes
end() {
    [ -z "$held" ] || apt-mark hold $held
    [ "$started" = yes ] || { systemctl reset-failed docker.service; systemctl start docker.service; }
}
trap end EXIT
trap "exit 1" HUP INT TERM
[ -z "$held" ] || apt-mark unhold $held
[ -z "$dpkg" ] || dpkg --configure -a
[ $# = 0 ] || get --download-only "$@" || exit
started=
systemctl stop docker.socket docker.service
[ $# = 0 ] || get "$@"
'

# upgrade_static ARCHIVE SHA256 VERSION: replace the programs of a static release of ours while the old dockerd runs on;
# then restart it.
upgrade_static() {
    await_upgrade 300
    (
        state=$state/docker names=
        put_docker "$@"
    ) || exit 1
    run_upgrade 300 "$3" '' ''
}
