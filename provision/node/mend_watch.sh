# When to look, and the command line. POSIX sh.

# follow PROCESS: tell it of changes of the store. Where the watch ends, with a member for example, some were missed.
follow() {
    keeper=
    while :; do
        bring_home
        kill -USR1 "$1" || exit 0
        store watch --recursive --forever "$endpoints_key" | while read -r action _; do
            case $action in
            '[delete]' | '[compareAndDelete]') bring_home ;;
            '['*) ;;
            *) continue ;; # the value
            esac
            kill -USR1 "$1" || exit 0
        done
        sleep 3
    done
}

watch() {
    # shellcheck disable=SC1091 # on the node
    . "$pki/store.env"
    own=${OVERLAY_ADVERTISE%:*}
    known='' right='' found='' unclaimed='' miscounted='' changed='' after=0 calm=0
    mkdir -p "$run"
    trap 'changed=yes' USR1
    follow $$ &
    follower=$!
    while kill -0 "$follower"; do
        if [ "$changed$unclaimed" ] || [ "$calm" -ge "$refresh" ]; then
            [ -z "$changed" ] || after=$follow_up
            changed='' calm=0
            read_store
        fi
        look
        if [ "$found$unclaimed" ]; then
            sleep "$again"
        elif [ "$after" -gt 0 ]; then
            after=$((after - 1))
            sleep "$busy"
        elif [ -z "$changed" ]; then
            calm=$((calm + 1))
            [ "$calm" -gt 2 ] || recount
            sleep "$quiet" &
            wait $!
            [ -z "$changed" ] || { kill $! 2>/dev/null; sleep "$settle"; }
        fi
    done
}

case ${1-} in
watch) watch ;;
*) echo "usage: mend watch" >&2; exit 2 ;;
esac
