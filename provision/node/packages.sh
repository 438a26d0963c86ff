# Install Docker on a node, and take it away again. POSIX sh; record.sh and changes.sh come before it.
# The installation has a record of its own, $state/docker/record: Docker may stay when all else is put back. While
# $state/docker/installing exists, the installation is not complete: facts say that there is no Docker yet.

# shellcheck disable=SC2015 # `a && b || die`: die if any of them fails
# shellcheck disable=SC2030,SC2031 # a subshell has variables of its own, which is meant

# fact_packages NAME…: where there is no Docker, print what apt could install by these names: lines of NAME, `candidate` or
# `version`, and a version; or apt's complaint. Where apt has no list of packages yet, lists are fetched into a folder of
# their own, which is removed again.
fact_packages() {
    ! command -v dockerd >/dev/null || [ -e "$state/docker/installing" ] || return 0
    command -v apt-get >/dev/null || return 0
    {
        echo "apt yes -"
        lists=
        if [ -z "$(candidate_of "$1")" ]; then
            lists=$(mktemp -d /var/tmp/overlay-provision.XXXXXX) && mkdir "$lists/partial"
            updated=$(with_lists "$lists" timeout 45 apt-get -q update 2>&1)
            [ $? != 124 ] || updated="E: apt-get update did not end within 45 s"
            set -- "$@" -- "$(printf '%s\n' "$updated" | grep '^[EW]:' | head -n 3 | tr '\n\t' '  ')"
        else
            set -- "$@" -- ''
        fi
        while [ "$1" != -- ]; do
            candidate=$(candidate_of "$1")
            [ -z "$candidate" ] || echo "$1 candidate $candidate"
            with_lists "$lists" apt-cache madison "$1" 2>/dev/null | awk '{ print $1, "version", $3 }'
            shift
        done
        [ -z "$2" ] || echo "apt complaint $2"
        [ -z "$lists" ] || rm -rf "$lists"
    } | fact_encoded answer packages
}

# with_lists FOLDER COMMAND…: run a command of apt with the lists in a folder; as usual if FOLDER is empty.
with_lists() {
    if [ -z "$1" ]; then
        shift
        "$@"
    else
        folder=$1
        shift
        printf 'Dir::State::Lists "%s";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\nAPT::Sandbox::User "root";\n' \
            "$folder" >"$folder/apt.conf"
        APT_CONFIG=$folder/apt.conf "$@"
    fi
}

# candidate_of NAME: print the version that apt would install, if there is one.
candidate_of() {
    with_lists "${lists-}" apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -vxF '(none)'
}

# begin_installing ORIGIN: from here to the end of the script, record what Docker's installation changes. Note that Docker is
# not complete. Record where it comes from (`package` or `archive`), and what was there before it.
begin_installing() {
    [ "${state%/docker}" = "$state" ] || return 0
    state=$state/docker names=
    (umask 077 && mkdir -p "$state" && : >"$state/installing" && rm -f "$state/removing") && sync_path "$state/installing" ||
        die "cannot write to $state"
    remember docker Docker "$1"
    remember kernel forwarding "$(line_of /proc/sys/net/ipv4/ip_forward)"
    if ! command -v iptables >/dev/null; then
        remember kernel policy '-P FORWARD ACCEPT' # the kernel's own
    elif rules=$(iptables -S FORWARD 2>/dev/null); then
        remember kernel policy "$(printf '%s\n' "$rules" | head -n 1)"
    fi
    remember_path /etc/docker /etc/containerd /etc/cni /opt/containerd /run/docker /run/containerd \
        /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-
    for folder in /var/lib/containerd /var/lib/docker; do
        if [ -d "$folder" ] && holds_nothing "$folder"; then remember empty "$folder" -; else remember_path "$folder"; fi
    done
    getent group docker >/dev/null || remember group docker -
}

# holds_nothing FOLDER: succeed if nothing is in it. A disk's lost+found is nothing.
holds_nothing() {
    [ -z "$(find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found 2>/dev/null | head -n 1)" ]
}

# end_installing: start Docker, and note that it is complete.
end_installing() {
    systemctl daemon-reload
    state=${state%/docker} names=
    run_unit start docker.service 120
    rm -f "$state/docker/installing"
    sync_path "$state/docker"
}

# apt_get WORDS…: run apt-get without questions, and without other services being restarted. Wait while another process has
# one of apt's locks.
apt_get() {
    deadline=$(($(date +%s) + 300))
    while :; do
        apt_words=$(
            export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1
            apt-get -q -y -o DPkg::Lock::Timeout=60 -o APT::Keep-Downloaded-Packages=false \
                -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" 2>&1 </dev/null
        ) && return 0
        case $apt_words in *'ould not get lock'* | *'nable to acquire the dpkg'*) ;; *) return 1 ;; esac
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 1
    done
}

# apt_failed WHAT: die with apt's own errors.
apt_failed() {
    told='^(E:|W:|dpkg: error|dpkg: dependency)|unmet dep|Depends:|No space'
    errors=$(printf '%s\n' "$apt_words" | grep -E "$told" | tail -n 8)
    die "$1: ${errors:-$(printf '%s\n' "$apt_words" | tail -n 8)}"
}

# install_packages NAME[=VERSION]…: install packages, with what they need and nothing else. Each that was not there is
# recorded first. Nothing is removed. An installation that was interrupted is completed.
install_packages() {
    [ -z "$(dpkg --audit 2>/dev/null)" ] || DEBIAN_FRONTEND=noninteractive dpkg --configure -a >/dev/null 2>&1 || true
    apt_get update || true # where lists are old, apt says below what is missing
    not_updated=$apt_words
    set -- install --no-install-recommends --no-remove --fix-broken "$@"
    apt_get --simulate "$@" || {
        apt_words="$not_updated
$apt_words"
        apt_failed "apt cannot install it"
    }
    remember_added
    apt_get "$@" || apt_failed "apt does not install it"
}

# remember_added: of the packages that apt would install ($apt_words), record those that are not there.
remember_added() {
    for name in $(printf '%s\n' "$apt_words" | sed -n 's/^Inst \([^ ]*\).*/\1/p'); do
        was=$(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) || was=un
        case $was in ii* | hi*) ;; *) remember package "package $name" "$was" ;; esac
    done
    sync_path "$state/record"
}

# put_docker ARCHIVE SHA256 VERSION: put a static release's programs into /usr/local/bin, dockerd last.
put_docker() {
    printf '%s  %s\n' "$2" "$1" | sha256sum -c >/dev/null 2>&1 ||
        give_up "$1" "the archive of Docker arrived damaged: its checksum differs"
    fresh=/usr/local/bin/.docker.overlay-provision
    rm -rf "$fresh"
    mkdir -p "$fresh" && tar -xzf "$1" -C "$fresh" && [ -f "$fresh/docker/dockerd" ] ||
        give_up "$fresh" "cannot unpack $1"
    chown -R root:root "$fresh" && chmod 0755 "$fresh"/docker/*
    said=$("$fresh/docker/dockerd" --version 2>&1) || true
    case $said in
    *" $3"[!0-9]*) ;;
    *) give_up "$fresh" "the dockerd of the archive does not run here as version $3: $said" ;;
    esac
    for program in "$fresh"/docker/*; do remember_path "/usr/local/bin/${program##*/}"; done
    sync_path "$state/record"
    mv -f "$fresh/docker/dockerd" "$fresh/dockerd"
    for program in "$fresh"/docker/* "$fresh/dockerd"; do
        sync_path "$program"
        mv -fT "$program" "/usr/local/bin/${program##*/}" || give_up "$fresh" "cannot put $program in place"
    done
    sync_path /usr/local/bin
    rm -rf "$fresh" "$1"
}

# list_things: if Docker is ours, print what is in it, a line each: `container`, `image` or `volume`, its name, and its label
# if a container or volume is ours. Print `unseen` if it does not answer, and something may be in it. What a removal that
# was interrupted has left is agreed to.
list_things() {
    [ -f "$state/docker/record" ] || return 0
    if docker_answers; then
        label='{{.Label "overlay-keeper"}}{{.Label "overlay-provision.run"}}'
        name='{{if eq .Tag "<none>"}}{{.ID}}{{else}}{{.Repository}}:{{.Tag}}{{end}}'
        {
            timeout 60 docker ps -a --format "{{if .Names}}container$tab{{.Names}}$tab$label{{end}}" &&
                timeout 60 docker image ls --format "image$tab$name" &&
                timeout 60 docker volume ls --format "volume$tab{{.Name}}" || echo unseen
        } | sed '/^$/d' # see listed_id
    elif [ ! -e "$state/docker/removing" ]; then
        for found in /var/lib/docker/containers/*/ /var/lib/docker/volumes/*/ \
            /var/lib/docker/image/overlay2/imagedb/content/sha256/*; do
            [ ! -e "$found" ] || { echo unseen && return 0; }
        done
    fi
}

# keep_used_docker: leave a Docker of ours to its users if it holds anything of theirs: it is theirs from now on.
keep_used_docker() {
    ours="
$(sed -n "s/^image$tab\([^$tab]*\)$tab.*/\1/p" "$state/record" 2>/dev/null)
"
    list_things | while IFS=$tab read -r kind thing label; do
        case $kind,$label,$ours in image,,*"
${thing%:latest}
"*) ;; *,,*) rm -rf "$state/docker" ;; esac
    done
}

# remove_docker: take Docker away if it is ours, with all that is in it.
remove_docker() (
    [ -f "$state/docker/record" ] || return 0
    state=$state/docker names=
    : >"$state/removing" && sync_path "$state/removing" || die "cannot write to $state"
    if docker_answers; then
        timeout 60 docker ps -aq | xargs -r timeout 120 docker rm -f >/dev/null 2>&1 || true
    fi
    stop_dockerd
    require_stopped docker.service
    systemctl disable -q docker.service docker.socket 2>/dev/null
    timeout 60 systemctl stop containerd.service 2>/dev/null
    forget_rules
    remove_packages
    ! recorded group docker >/dev/null || ! getent group docker >/dev/null || groupdel docker
    unmount_gone
    put_back '.*'
    systemctl daemon-reload
    systemctl reset-failed docker.service docker.socket containerd.service 2>/dev/null
    rm -rf "$state"
)

# unmount_gone: unmount what is mounted below folders that go, such as volumes: else what is in it would be deleted.
unmount_gone() {
    mounts_in_gone | while read -r mount; do umount -l "$(printf %b "$mount")"; done
    mount=$(mounts_in_gone | head -n 1)
    [ -z "$mount" ] || die "$mount is still mounted, and what is in it would be deleted: umount $mount"
}

# mounts_in_gone: print each mount below a folder that was absent or empty before us, the deepest first. A space is \0040.
mounts_in_gone() {
    awk -F "$tab" '$1 == "absent" || $1 == "empty" { print $2 }' "$state/record" | while read -r folder; do
        awk -v below="$folder/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts
    done | sed 's/\\/\\0/g' | sort -r
}

# remove_packages: remove the packages that we have installed. One that others need by now stays, and is named. Docker's
# package would delete /var/lib/docker when it is purged: the record says whether that goes.
remove_packages() {
    names=$(sed -n "s/^package${tab}package \([^$tab]*\)$tab.*/\1/p" "$state/record")
    [ -n "$names" ] || return 0
    # shellcheck disable=SC2086 # a word a package
    dpkg_alone --remove --force-remove-reinstreq $names
    rm -f /var/lib/docker/nuke-graph-directory.sh
    # shellcheck disable=SC2046
    dpkg_alone --purge $(sed -n "s/^package${tab}package \([^$tab]*\)${tab}un.*/\1/p" "$state/record")
    for name in $names; do
        case $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) in
        '' | un* | ?c* | pn*) ;;
        *)
            printf '%s install\n' "$name" | dpkg --set-selections # else dpkg goes on wanting to remove it
            printf 'the package %s stays: something needs it\n' "$name"
            ;;
        esac
    done
}

# dpkg_alone WORDS…: run dpkg when no other process has its lock.
dpkg_alone() {
    deadline=$(($(date +%s) + 300))
    while :; do
        dpkg_words=$(DEBIAN_FRONTEND=noninteractive dpkg "$@" 2>&1 </dev/null) && return 0
        case $dpkg_words in *'frontend lock'* | *'database lock'*) ;; *) return 0 ;; esac
        [ "$(date +%s)" -lt "$deadline" ] || die "$dpkg_words"
        sleep 1
    done
}

# forget_rules: remove from the kernel what Docker leaves there until the next boot: its rules for packets, its bridges,
# and forwarding. It lets IPv4 forward again only where the record says that it did: a firewall's own rule stays.
forget_rules() {
    for tool in iptables ip6tables; do
        policy=DROP
        case $tool,$(recorded kernel policy) in iptables,*' ACCEPT') policy=ACCEPT ;; esac
        command -v "$tool-save" >/dev/null && rules=$("$tool-save" 2>/dev/null) || continue
        case $rules in *DOCKER*) ;; *) continue ;; esac
        printf '%s\n' "$rules" | grep -v -e DOCKER -e docker0 -e docker_gwbridge | sed "s/^:FORWARD DROP /:FORWARD $policy /" |
            "$tool-restore" 2>/dev/null || true
    done
    for bridge in docker0 docker_gwbridge; do
        [ ! -d "/sys/class/net/$bridge" ] || ip link delete "$bridge" 2>/dev/null || true
    done
    ! was=$(recorded kernel forwarding) || [ -z "$was" ] || echo "$was" >/proc/sys/net/ipv4/ip_forward
}
