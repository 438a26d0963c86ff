# What every script on a node may call. POSIX sh; needs coreutils or busybox, and systemd.
# shellcheck disable=SC2015 # `a && b || die`: that any of them may fail is what is meant
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export DOCKER_HOST=unix:///var/run/docker.sock # this node's, whatever context root has chosen
state=/var/lib/overlay-provision # what was here before us, for reset
tab=$(printf '\t')
active=' ' # units that run, once fact_units has seen them

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# ---- facts: tab-separated lines on standard output --------------------------------------------

fact() {
    line=$1
    shift
    for field; do line=$line$tab$field; done
    printf '%s\n' "$line"
}

# fact_encoded NAME KEY… < text: any text on one line.
fact_encoded() {
    fact "$@" "$(base64 -w 0)"
}

# line_of FILE: its first line.
line_of() {
    [ ! -r "$1" ] || { read -r line <"$1" || true; printf %s "$line"; }
}

# holds_something FOLDER
holds_something() {
    for entry in "$1"/* "$1"/.[!.]*; do
        [ ! -e "$entry" ] && [ ! -h "$entry" ] || return 0
    done
    return 1
}

# fact_addresses: each address, and the MTU of the interface that has it.
fact_addresses() {
    ip -4 address 2>/dev/null | while read -r key one rest; do
        case "$key $rest" in
        'inet '*) fact address "${one%/*}" "$mtu" ;;
        *' mtu '*) mtu=${rest#*mtu } mtu=${mtu%% *} ;;
        esac
    done
}

# fact_sources ADDRESS…: the address of ours from which packets to each go.
fact_sources() {
    for neighbour; do
        route=$(ip -o -4 route get "$neighbour" 2>/dev/null)
        case $route in *' src '*) route=${route#* src } && fact source "$neighbour" "${route%% *}" ;; esac
    done
}

# fact_resolvers FILE…: the name servers of each that is there.
fact_resolvers() {
    for file; do
        [ ! -r "$file" ] || while read -r key one _ || [ "$key" ]; do
            [ "$key" != nameserver ] || fact resolver "$one"
        done <"$file"
    done
}

# fact_spaces PATH…: where the file system of each is mounted, its free bytes and options; of one that is not there yet,
# those of the folder it will come into.
fact_spaces() {
    for path; do
        there=$path
        while [ ! -e "$there" ]; do
            case $there in
            */?*) there=${there%/*} ;;
            *) there= ;;
            esac
            there=${there:-/}
        done
        fact space "$path" "$(findmnt -nrbo TARGET,AVAIL,OPTIONS -T "$there" 2>/dev/null)"
    done
}

# fact_paths PATH…: kind, mode, owner and group of each that exists; the target of links.
fact_paths() {
    stat -c "stat$tab%n$tab%F$tab%a$tab%U:%G" -- "$@" 2>/dev/null
    for path; do
        [ ! -h "$path" ] || fact link "$path" "$(readlink "$path")"
    done
}

# fact_hashes PATH…: sha256 of each that is a file.
fact_hashes() {
    sha256sum -- "$@" 2>/dev/null | while read -r sum path; do fact hash "$path" "$sum"; done
}

# fact_texts PATH…: the content of each that is a file, for diffs, in one archive. Never called for a secret.
fact_texts() {
    for path; do
        [ ! -f "$path" ] || set -- "$@" "$path"
        shift
    done
    [ $# = 0 ] || fact texts "$(tar -chf - -- "$@" 2>/dev/null | base64 -w 0)"
}

# fact_large PATH…: sha256 of each that is a file; from its stamp where nobody has touched it since.
fact_large() {
    for path; do
        [ ! -f "$path" ] || stamped hash "$path" || fact_hashes "$path"
    done
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
    now=$(stat -L -c '%i %s %z' "$2" 2>/dev/null) || return 1
    line=$(grep -F -- "$tab$2$tab$now" "$state/stamps" 2>/dev/null) || return 1
    fact "$1" "$2" "${line%%"$tab"*}"
}

# fact_units UNIT…: state, enablement, and the hashes of the files it was last started on. Leaves in $active which are.
fact_units() {
    active=' '
    shown=$(systemctl show -p Id -p ActiveState -p UnitFileState -p NeedDaemonReload -p MainPID "$@" 2>/dev/null)
    while IFS='=' read -r key value; do
        case $key in
        '') fact unit next ;;
        Id) name=$value ;;
        ActiveState) [ "$value" != active ] || active="$active$name " ;;
        esac
        [ -z "$key" ] || fact unit "$key" "$value"
    done <<EOF
$shown
EOF
    for unit; do
        inputs=/run/overlay-provision/$unit.inputs
        [ ! -f "$inputs" ] || while read -r sum path; do fact input "$unit" "$path" "$sum"; done <"$inputs"
    done
}

# is_active UNIT: as fact_units saw it.
is_active() {
    case $active in *" $1 "*) ;; *) return 1 ;; esac
}

# fact_ports PORT…: who listens on each, tcp and udp.
fact_ports() {
    command -v ss >/dev/null || return 0
    for port; do filter="${filter:+$filter or }sport = :$port"; done
    ss -H -lntup "( $filter )" 2>/dev/null | while read -r protocol _ _ _ local _ users; do
        fact port "$protocol" "$local" "${users:-unknown}"
    done
}

# fact_tables TABLE…: whether nft works here; each of ours that is in the kernel as its unit has loaded it.
fact_tables() {
    nft list tables >/dev/null 2>&1 || return 0
    fact value nft yes
    for table; do
        listed=$(nft -s list table inet "$table" 2>/dev/null | sha256sum)
        [ "$listed" != "$(line_of "/run/overlay-provision/$table.loaded")" ] || fact table "$table"
    done
}

# fact_docker PATH…: what Docker's API answers to a GET of each, as it came: one process for all of them. Bounded: a
# daemon that waits for its store answers nobody. After the last question the daemon takes the end of our input for
# a caller that has gone: the ping is there to be lost.
fact_docker() {
    is_active docker.service && command -v docker >/dev/null || return 0
    fact docker "$(
        for path in "$@" /_ping; do printf 'GET %s HTTP/1.1\r\nHost: docker\r\n\r\n' "$path"; done |
            timeout 5 docker system dial-stdio 2>/dev/null | base64 -w 0
    )" "$@"
}

# own_member WORD...: what this node's own member says.
own_member() {
    # shellcheck disable=SC1091 # our own, on the node
    (unset ETCDCTL_ENDPOINTS ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY # it takes none of them beside its flags
        set -a && . /etc/etcd/etcd.env && ETCDCTL_API=3 timeout 4 etcdctl --command-timeout=3s -w json \
        --endpoints="$ETCD_ADVERTISE_CLIENT_URLS" --cacert="$ETCD_TRUSTED_CA_FILE" \
        --cert="$ETCD_CERT_FILE" --key="$ETCD_KEY_FILE" "$@" 2>/dev/null)
}

# fact_members: the member list as this node's own member gives it, and how it is.
fact_members() {
    is_active etcd.service && [ -f /etc/etcd/etcd.env ] || return 0
    own_member member list | fact_encoded value members
    own_member endpoint status | fact_encoded value store-status
}

# ---- what was here before us ------------------------------------------------------------------

# remember KIND NAME VALUE: append to the record, once. KIND: absent, kept, folder, user, unit, network, image.
remember() {
    ! remembered "$2" || return 0
    [ -d "$state" ] || (umask 077 && mkdir -p "$state")
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$state/record"
    names="$names$2
"
}

# remembered NAME: names are read once, into a list with a line each.
names=
remembered() {
    [ -n "$names" ] || names="
$([ ! -f "$state/record" ] || cut -f2 "$state/record")
"
    case $names in
    *"
$1
"*) ;;
    *) return 1 ;;
    esac
}

# remember_path PATH…: that it was absent, or a copy of what it was.
remember_path() {
    for path; do
        if remembered "$path"; then
            continue
        elif [ ! -e "$path" ] && [ ! -h "$path" ]; then
            remember absent "$path" -
        elif [ -d "$path" ] && [ ! -h "$path" ]; then
            # A folder that was there: only its mode and owner are ours to put back.
            remember folder "$path" "$(stat -c '%a %U:%G' "$path")"
        else
            (umask 077 && mkdir -p "$state/kept")
            copy=$state/kept/$(printf %s "$path" | sha256sum | cut -c1-16)
            cp -a "$path" "$copy" && remember kept "$path" "$copy"
        fi
    done
}

remember_unit() {
    for unit; do
        # The first container on an overlay makes Docker make this one.
        [ "$unit" != docker.service ] || remember_network docker_gwbridge
        remember unit "$unit" "$(systemctl is-enabled "$unit" 2>/dev/null || true) $(systemctl is-active "$unit" 2>/dev/null || true)"
    done
}

remember_user() {
    id "$1" >/dev/null 2>&1 || remember user "$1" -
}

remember_network() {
    timeout 5 docker network inspect "$1" >/dev/null 2>&1 || remember network "$1" -
}

remember_image() {
    timeout 5 docker image inspect "$1" >/dev/null 2>&1 || remember image "$1" -
}

# ---- changes ----------------------------------------------------------------------------------

sync_path() {
    sync "$1" 2>/dev/null || sync
}

# give_up FILE WORDS…: die, and leave no temporary.
give_up() {
    rm -rf "$1"
    shift
    die "$@"
}

# put_file PATH MODE OWNER SHA256 < base64: whole or not at all, never readable by more than MODE.
put_file() {
    [ ! -d "$1" ] || [ -h "$1" ] || die "$1 is a folder; a file of ours must be"
    folder=${1%/*}
    temporary=$folder/.${1##*/}.overlay-provision
    [ ! -e "$temporary" ] && [ ! -h "$temporary" ] || rm -f "$temporary"
    (umask 077 && base64 -d >"$temporary") && sync_path "$temporary" || give_up "$temporary" "cannot write $temporary"
    printf '%s  %s\n' "$4" "$temporary" | sha256sum -c >/dev/null 2>&1 ||
        give_up "$temporary" "$1 arrived damaged: its checksum differs"
    chown "$3" "$temporary" && chmod "$2" "$temporary" && mv -fT "$temporary" "$1" ||
        give_up "$temporary" "cannot put $1 in place"
    sync_path "$folder"
}

# put_folder PATH MODE OWNER
put_folder() {
    [ ! -h "$1" ] || die "$1 is a link; a folder of ours must not be"
    # With four digits chmod leaves a folder its setgid bit.
    mkdir -p "$1" && chown "$3" "$1" && chmod "0$2" "$1" || die "cannot make the folder $1"
}

# put_link PATH TARGET: switched in one step.
put_link() {
    temporary=${1%/*}/.${1##*/}.overlay-provision
    ln -sfn "$2" "$temporary" && mv -fT "$temporary" "$1" || give_up "$temporary" "cannot make the link $1"
}

# put_release ARCHIVE FOLDER SHA256_ETCD SHA256_ETCDCTL VERSION TOP: unpack, run once, rename. The archive was checked
# when it arrived, and carries checksums of its own.
put_release() {
    fresh=$2.overlay-provision
    rm -rf "$fresh"
    mkdir -p "$fresh" && tar -xzf "$1" -C "$fresh" "$6/etcd" "$6/etcdctl" && mv "$fresh/$6/etcd" "$fresh/$6/etcdctl" "$fresh" &&
        rm -rf "${fresh:?}/${6#./}" || give_up "$fresh" "cannot unpack $1"
    chown -R root:root "$fresh" && chmod 00755 "$fresh" "$fresh/etcd" "$fresh/etcdctl"
    "$fresh/etcd" --version | grep -q "^etcd Version: $5\$" || give_up "$fresh" "the etcd pushed does not run here as version $5"
    sync_path "$fresh/etcd"
    sync_path "$fresh/etcdctl"
    rm -rf "$2"
    mv -T "$fresh" "$2" || give_up "$fresh" "cannot put $2 in place"
    sync_path "$(dirname "$2")"
    stamp "$2/etcd" "$3"
    stamp "$2/etcdctl" "$4"
    rm -f "$1"
}

put_user() {
    id "$1" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir "$2" --shell /usr/sbin/nologin "$1" ||
        die "cannot make the user $1"
}

# put_keeper NAME NETWORK IMAGE: see phases/keeper.py. One of Docker's threads may lead nowhere, and leave a stale
# endpoint when it fails; the next try gets another thread. It is killed when dockerd stops: it has nothing to save.
put_keeper() {
    tries=0
    while :; do
        ! docker run -d --name "$1" --network "$2" --label "overlay-keeper=$2" --restart always --stop-signal KILL \
            --memory 16m --read-only --cap-drop ALL --ipc none --log-driver none "$3" sleep 2147483647 >/dev/null || return 0
        tries=$((tries + 1))
        [ "$tries" -lt 10 ] || die "docker cannot start $1"
        docker rm -f "$1" >/dev/null 2>&1 || true
        docker network disconnect -f "$2" "$1" >/dev/null 2>&1 || true
        sleep 0.3
    done
}

# put_gateway_bridge SUBNET: what Docker would make with the first container on an overlay, elsewhere. Its own options.
put_gateway_bridge() {
    ! timeout 10 docker network inspect docker_gwbridge >/dev/null 2>&1 || return 0
    timeout 60 docker network create --subnet "$1" -o com.docker.network.bridge.name=docker_gwbridge \
        -o com.docker.network.bridge.enable_icc=false -o com.docker.network.bridge.enable_ip_masquerade=true \
        docker_gwbridge >/dev/null || die "docker cannot make docker_gwbridge with $1"
}

# begin_unit UNIT: enable and start it, unless another unit's start has begun it.
begin_unit() {
    ! systemctl is-active -q "$1" || return 0
    enable_unit "$1"
    systemctl start --no-block "$1" || die "cannot start $1"
}

enable_unit() {
    # Enabling reads the units anew, too.
    if systemctl is-enabled -q "$1" 2>/dev/null; then
        systemctl daemon-reload
    else
        systemctl enable -q "$1" || die "cannot enable $1"
    fi
    systemctl reset-failed "$1" 2>/dev/null || true
}

# journal_end UNIT…: on standard error, the last of what went wrong; where nothing says so, the last lines.
journal_end() {
    for unit; do set -- "$@" -u "$unit" && shift; done
    said=$(journalctl "$@" -n 80 --no-pager -o cat)
    errors=$(printf '%s\n' "$said" | grep -iE 'level"?[=:]"?(error|fatal|panic)|fail|panic' | tail -n 5)
    printf '%s\n' "${errors:-$(printf '%s\n' "$said" | tail -n 8)}" >&2
}

# run_unit VERB UNIT SECONDS: start or restart and wait, bounded; on failure say what the journal says.
run_unit() {
    enable_unit "$2"
    if ! timeout "$3" systemctl "$1" "$2"; then
        printf '%s did not %s within %s s. Its journal ends:\n' "$2" "$1" "$3" >&2
        journal_end "$2"
        exit 1
    fi
    [ "$2" != docker.service ] || stamp "$(command -v dockerd)" "$(dockerd --version)"
}

# stays_up UNIT: die, with the end of its journal, if it has ended and been started again more than once, and its
# process has not been there for ten seconds now.
stays_up() {
    shown=$(systemctl show -p NRestarts -p ActiveState -p ExecMainStartTimestampMonotonic "$1" | tr '\n' ' ')
    case $shown in
    *ActiveState=failed* | *NRestarts=[2-9]* | *NRestarts=[1-9][0-9]*) ;;
    *) return 0 ;;
    esac
    began=${shown##*ExecMainStartTimestampMonotonic=} now=$(cut -d. -f1 /proc/uptime)
    case $shown in *ActiveState=active*) [ $((now - ${began%% *} / 1000000)) -lt 10 ] || return 0 ;; esac
    printf '%s does not stay up. Its journal ends:\n' "$1" >&2
    journal_end "$1"
    exit 1
}

# await_joined SECONDS: until this node's dockerd is on the store; see docker_store.sh.
await_joined() {
    deadline=$(($(date +%s) + $1))
    until [ -e /run/overlay-provision/docker.joined ]; do
        if [ "$(date +%s)" -gt "$deadline" ]; then
            printf 'no quorum answered it, or no reload was taken, within %s s. The journal of docker.service ends:\n' "$1" >&2
            journal_end docker.service overlay-join.service
            exit 1
        fi
        sleep 0.05
    done
}

# ---- reset: everything as it was, last change first --------------------------------------------

# put_back PATTERN: what the record says of the paths that begin with one of the patterns (| between them).
put_back() {
    [ -f "$state/record" ] || return 0
    sed '1!G;h;$!d' "$state/record" | while IFS=$tab read -r kind name value; do
        printf '%s\n' "$name" | grep -qE -- "^($1)" || continue
        # What a change was killed at.
        case $name in /*) rm -rf -- "${name%/*}/.${name##*/}.overlay-provision" "$name.overlay-provision" ;; esac
        case $kind in
        absent) rm -rf -- "$name" ;;
        folder) chown "${value#* }" "$name" && chmod "${value% *}" "$name" ;;
        kept) rm -rf -- "$name" && cp -a "$value" "$name" ;;
        user) userdel "$name" ;;
        esac || die "cannot put back $kind $name"
    done || exit 1
}

# recorded KIND NAME: the value the record has, or fail.
recorded() {
    [ -f "$state/record" ] || return 1
    while IFS=$tab read -r kind name value; do
        [ "$kind $name" != "$1 $2" ] || { printf '%s\n' "$value"; return 0; }
    done <"$state/record"
    return 1
}

# drop_firewall: our table of nftables and what loads it, if it was ever there.
drop_firewall() {
    recorded unit overlay-firewall.service >/dev/null || return 0
    systemctl disable -q --now overlay-firewall.service 2>/dev/null || true
    nft delete table inet overlay_provision 2>/dev/null || true # where its unit was lost
    put_back '/etc/overlay-provision|/etc/systemd/system/overlay-firewall.service'
    rm -f /run/overlay-provision/overlay-firewall.service.inputs /run/overlay-provision/overlay_provision.loaded
    systemctl daemon-reload
}

# drop_keepers: ours only, by their label.
drop_keepers() {
    timeout 60 docker ps -aq -f label=overlay-keeper | xargs -r timeout 60 docker rm -f >/dev/null 2>&1 || true
}

# put_back_docker: the vendor's dockerd again, running if it ran; our networks and image gone with the store.
put_back_docker() {
    systemctl stop overlay-join.service 2>/dev/null
    put_back '/etc/docker|/etc/systemd/system/docker.service.d|/etc/systemd/system/overlay-join.service'
    was=$(recorded unit docker.service) || return 0
    systemctl daemon-reload
    systemctl reset-failed docker.service 2>/dev/null
    rm -f /run/overlay-provision/docker.* /run/overlay-provision/daemon.json
    case $was in
    *' active') timeout 120 systemctl restart docker.service || die "docker.service does not start as it was before" ;;
    *) systemctl stop docker.service docker.socket ;;
    esac
    case $was in enabled*) ;; *) systemctl disable -q docker.service ;; esac
    sed -n "s/^network$tab\([^$tab]*\)$tab.*/\1/p" "$state/record" | while read -r network; do
        ! timeout 10 docker network inspect "$network" >/dev/null 2>&1 || docker network rm "$network" >/dev/null ||
            die "cannot remove the network $network"
    done
    sed -n "s/^image$tab\([^$tab]*\)$tab.*/\1/p" "$state/record" | while read -r image; do
        ! timeout 10 docker image inspect "$image" >/dev/null 2>&1 || docker image rm "$image" >/dev/null 2>&1 ||
            printf 'the image %s stays: something uses it\n' "$image" >&2
    done
}

# put_back_rest: etcd stopped and gone, every other path as it was, the record last.
put_back_rest() {
    if recorded unit etcd.service >/dev/null; then
        systemctl disable -q --now etcd.service 2>/dev/null
        rm -rf /var/lib/etcd/data
    fi
    drop_firewall
    put_back '.*'
    systemctl daemon-reload
    systemctl reset-failed etcd.service 2>/dev/null
    rm -f /run/overlay-provision/*.inputs
    rm -rf "$state"
}
