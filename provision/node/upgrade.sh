# Another version of Docker on a node, by apt. POSIX sh; needs upgrade_facts.sh, systemd 232 and apt.

# offered_version PACKAGE BEGINNING: print the latest version of a package that apt knows and that begins like this.
offered_version() {
    offered_versions "$1" | while read -r version; do
        case ${version#*:} in "$2" | "$2"[!0-9]*) printf %s "$version" && break ;; esac
    done
}

# upgrade_docker PACKAGE BEGINNING SECONDS: install the latest version of the package that begins like this, and the same
# of Docker's client where that is a package of its own. systemd does it in a unit of its own: it ends even if this run is
# killed meanwhile.
upgrade_docker() {
    await_upgrade "$3"
    version=$(offered_version "$1" "$2") client=${1%.io}-cli held=
    [ -z "$version" ] || ! offered_versions "$client" | grep -qxF "$version" || client=$client=$version
    case $client in *=*) ;; *) client= ;; esac
    [ "$(docker_holder "$1")" != ours ] || held=$1
    timeout "$3" systemd-run --quiet --collect --wait --unit overlay-upgrade.service /bin/sh -c "$upgrade_unit" \
        sh "$1${version:+=$version}" "$client" "$held" || {
        printf 'Docker %s was not installed. The journal of overlay-upgrade.service ends:\n' "$2" >&2
        last_words overlay-upgrade.service >&2
        exit 1
    }
    run_unit start docker.service "$3"
}

# What the unit runs, with the package, the client and the package that we hold. Packages are downloaded while Docker runs.
# Docker is started again whatever becomes of the packages.
# shellcheck disable=SC2016 # the unit's shell expands it
upgrade_unit='
set -u
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
get() {
    apt-get -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        --yes --no-install-recommends ${held:+--allow-change-held-packages} install "$@"
}
package=$1 client=$2 held=$3
dpkg --configure -a
get --download-only "$package" $client || exit
trap "systemctl reset-failed docker.service; systemctl start docker.service" EXIT
trap "exit 1" HUP INT TERM
systemctl stop docker.socket docker.service
get "$package" $client || exit
[ -z "$held" ] || apt-mark hold "$held"
'
