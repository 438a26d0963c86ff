# A door to Docker's socket for the user of a run who is not root. POSIX sh.

# open_door USER RUN LIVING…: print the path of a socket that only this user may use, and that leads to Docker's.
# Close the doors of runs that are not at work any more.
open_door() {
    user=$1 run=$2
    shift
    systemctl list-units --plain --no-legend 'overlay-door-*.socket' | while read -r unit _; do
        of=${unit#overlay-door-}
        case " $* " in *" ${of%.socket} "*) ;; *) close_door "${of%.socket}" ;; esac
    done
    systemd-run -q --unit="overlay-door-$run" --socket-property=ListenStream="/run/overlay-door-$run" \
        --socket-property=SocketUser="$user" --socket-property=SocketMode=0600 --socket-property=RemoveOnStop=yes \
        /lib/systemd/systemd-socket-proxyd --exit-idle-time=30s /var/run/docker.sock >&2
    printf '%s\n' "/run/overlay-door-$run"
}

# close_door RUN: end the connections through a run's door, and remove it.
close_door() {
    systemctl stop "overlay-door-$1.socket" "overlay-door-$1.service" 2>/dev/null || :
}
