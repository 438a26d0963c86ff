"""The lines that a `Shell` runs: run the script that follows, write the file that follows, hold the run lock.

POSIX sh. A background job's stdin is /dev/null, so stdin is moved to file descriptor 3 for the job that listens.
Every child inherits the lock's file descriptor, so children that may outlive the work close it.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote

from provision.remote.shell import HEARTBEAT_LIMIT

FOLDER = "/run/overlay-provision"
"""Folder of the locks on a node: accessible to root alone, gone after a reboot."""

STEP_LOCK_WAIT = 60
"""Seconds a step waits for a step that an earlier, killed run left running."""

BUSY = f"a step of an earlier run is still running there after {STEP_LOCK_WAIT} s"

MARK = "OVERLAY_PROVISION_SCRIPT"
"""The variable of the environment by which all processes of a script are found."""

LISTEN = f'while [ -n "$(timeout {HEARTBEAT_LIMIT} head -c1 <&3 8>&- 9>&-)" ]; do :; done'
"""Returns when the channel is closed, or no heartbeat came for HEARTBEAT_LIMIT seconds."""


def run_line(mark: str, size: int, *, changes: bool, guest: bool = False) -> str:
    """Run the next `size` bytes as a script, in a session of its own that is killed when the controller is gone.

    The script must end with the mark, so that a truncated script never runs. With `changes` it holds the step lock; for
    a `guest` only this shell holds it, because a daemon that the script starts would never release it. Everything
    that the script has started has the mark in its environment, and is killed with it, in whatever process group.
    """
    lock = f"""
        mkdir -p -m 700 {FOLDER} && exec 9>>{FOLDER}/step.lock || exit 1
        flock -w {STEP_LOCK_WAIT} 9 || {{ echo '{BUSY}' >&2; exit 1; }}
    """
    closed = "3<&- 9>&-" if guest else "3<&-"
    return _line(f"""
        script=$(head -c {size})
        case $script in *{mark}) ;; *) exit 1 ;; esac
        {lock if changes else ""}
        printf %s {mark}
        printf %s {mark} >&2
        exec 3<&0 </dev/null
        read='script=$(cat); exec </dev/null; eval "$script"'
        printf %s "$script" | {MARK}={mark} setsid sh -c "$read" {closed} & work=$!
        started() {{ grep -ls {MARK}={mark} /proc/[0-9]*/environ; }}
        stop() {{ kill -$1 -$work; for one in $(started); do one=${{one%/*}}; kill -$1 ${{one##*/}}; done; }}
        watch() {{ {LISTEN}; trap "" TERM; stop TERM; [ -z "$(started)" ] || {{ sleep 2; stop KILL; }}; }}
        watch >/dev/null 2>&1 9>&- & watch=$!
        wait $work; code=$?
        {{ kill $watch; wait $watch; }} 2>/dev/null
        exit $code
    """)


def push_line(mark: str, path: str, digest: str, mode: int) -> str:
    """Write the bytes that follow to a file, durably, completely or not at all.

    Only root can read the new file until its mode is set. Its checksum is compared before it is renamed into place.
    """
    folder, name = quote(str(PurePosixPath(path).parent)), quote(PurePosixPath(path).name)
    return _line(f"""
        printf %s {mark}
        printf %s {mark} >&2
        fail() {{ echo "$1" >&2; exit 1; }}
        umask 077
        cd -- {folder} || exit 1
        [ ! -d {name} ] || fail 'a folder is in its place'
        rm -f -- .{name}.pushed.*
        trap 'rm -f -- "$new"' EXIT
        trap 'exit 1' HUP INT TERM PIPE
        new=$(mktemp .{name}.pushed.XXXXXX) || exit 1
        cat >"$new" || exit 1
        [ "$(sha256sum <"$new")" = '{digest}  -' ] || fail 'the checksum of the received file does not match'
        chmod {mode:o} "$new" && sync "$new" && mv -f -- "$new" {name} && sync .
    """)


def lock_line(mark: str, run: str, holder: str, *, shared: bool) -> str:
    """Hold the run lock while the channel is open. Prints `held`, or `busy` and the holders.

    Each holder has a locked file in `runs/`; a file that is not locked belongs to a run that has died.
    """
    return _line(f"""
        printf %s {mark}
        umask 077
        mkdir -p {FOLDER}/runs && chmod 700 {FOLDER} && cd {FOLDER}/runs && exec 9>>../run.lock || exit 1
        flock -n {"-s" if shared else "-x"} 9 || {{ echo busy; {_LIVING} && cat "$run"; done; exit 0; }}
        exec 7>>../runs.lock && flock 7
        for run in *; do [ -f "$run" ] && flock -n "$run" rm -f "$run"; done
        exec 8>{run} && flock -n 8 && printf '%s\\n' {quote(holder)} >&8 || exit 1
        exec 7>&-
        echo held
        exec 3<&0 </dev/null
        {LISTEN}
        rm -f {run}
    """)


_LIVING = """for run in *; do [ -f "$run" ] && ! flock -n "$run" true"""

LIVING = f"""cd {FOLDER}/runs 2>/dev/null || exit 0; {_LIVING} && echo "$run"; done; true"""
"""Prints the name of each run that holds the lock now."""


def _line(text: str) -> str:
    """Join the commands into the single line that the shell reads first."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return "; ".join(lines) + "\n"
