# Decide when to look; the command line. POSIX sh.

# follow PROCESS: send the process a signal at each change of the store's endpoints. When a watch ends, for example because
# its member stopped, changes may be missed: so the process gets a signal when the next watch has begun, too.
follow() {
    bring_home
    while :; do
        store watch --recursive --forever "$endpoints_key" | {
            sleep 1
            kill -USR1 "$1" || exit
            homing=
            while read -r action _; do
                case $action in
                '[delete]' | '[compareAndDelete]') kill -0 "${homing:-x}" 2>/dev/null || { bring_home & homing=$!; } ;;
                '['*) ;;
                *) continue ;; # a line with the value
                esac
                kill -USR1 "$1" || exit
            done
        }
        sleep 5
    done
}

# nap SECONDS: sleep, until a change at most.
nap() {
    sleep "$1" &
    napping=$!
    [ -z "$changed" ] || kill "$napping"
    wait "$napping" 2>/dev/null
    napping=
}

watch() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    own=${OVERLAY_ADVERTISE%:*}
    known='' right='' had='' found='' unclaimed='' miscounted='' unknown='' heard='' names_of='' changed='' napping=''
    after=0 calm=0 hurrying=0 recounts=0
    mkdir -p "$run"
    rm -f "$left_away"
    [ ! -e "$outgrown" ] || tell_outgrown
    while [ -e "$outgrown" ]; do
        sleep 10
    done
    put_names_back
    until [ -e "$joined" ]; do # Docker has no rows for the store's networks before it has joined
        record_containers
        sleep 1
    done
    trap 'changed=yes; [ -z "$napping" ] || kill "$napping"' USR1
    follow $$ &
    follower=$!
    while kill -0 "$follower" && [ ! -e "$outgrown" ]; do
        record_containers
        if [ "$changed" ] || [ "$calm" -ge "$refresh" ]; then
            [ -z "$changed" ] || after=$follow_up recounts=2
            changed='' calm=0 hurrying=$hurry
            read_store
        elif [ "$found$unclaimed" ] && [ "$hurrying" -gt 0 ]; then
            read_store
        fi
        look
        if [ "$found$unclaimed" ] && [ "$hurrying" -gt 0 ]; then
            hurrying=$((hurrying - 1))
            sleep "$again"
        elif [ "$after" -gt 0 ]; then
            after=$((after - 1))
            check_names
            sleep "$busy"
        else
            calm=$((calm + 1))
            drop_useless
            if [ "$recounts" -gt 0 ]; then
                recounts=$((recounts - 1))
                recount
                bring_home
            elif [ -e "$left_away" ]; then
                bring_home
            fi
            nap "$quiet"
            [ -z "$changed" ] || sleep "$settle"
        fi
    done
}

case ${1-} in
watch) watch ;;
names) put_names_back ;;
*) echo "usage: mend watch | names" >&2; exit 2 ;;
esac
