"""The lines a `Shell` obeys: run the script that follows, keep the file that follows, hold the run lock.

POSIX sh. Traps met on the way: a background job's stdin is /dev/null, so stdin is moved to descriptor 3 for
the one that listens; every child inherits the lock's descriptor, so those that may outlive the work close it.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote

from provision.remote.shell import HEARTBEAT_LIMIT

FOLDER = "/run/overlay-provision"
"""Where locks live on a node: root's alone, gone after a boot."""

STEP_LOCK_WAIT = 60
"""Seconds a step waits for one that an earlier, killed run left at work."""

BUSY = f"a step of an earlier run is still at work there after {STEP_LOCK_WAIT} s"

LISTEN = f'while [ -n "$(timeout {HEARTBEAT_LIMIT} head -c1 <&3 8>&- 9>&-)" ]; do :; done'
"""Returns when the channel is closed, or has been silent for too long."""


def run_line(mark: str, size: int, *, changes: bool) -> str:
    """Run the `size` bytes that follow, in a session of its own that is killed when the controller is gone.

    The script must end with the mark: one cut short never runs. With `changes` it holds the step lock.
    """
    lock = f"""
        mkdir -p -m 700 {FOLDER} && exec 9>>{FOLDER}/step.lock || exit 1
        flock -w {STEP_LOCK_WAIT} 9 || {{ echo '{BUSY}' >&2; exit 1; }}
    """
    return _line(f"""
        script=$(head -c {size})
        case $script in *{mark}) ;; *) exit 1 ;; esac
        {lock if changes else ""}
        printf %s {mark}
        printf %s {mark} >&2
        exec 3<&0 </dev/null
        printf %s "$script" | setsid sh -c 'script=$(cat); exec </dev/null; eval "$script"' 3<&- & work=$!
        {{ {LISTEN}; kill -TERM -$work; sleep 2; kill -KILL -$work; }} >/dev/null 2>&1 9>&- & watch=$!
        wait $work; code=$?
        kill $watch
        exit $code
    """)


def push_line(mark: str, path: str, digest: str, mode: int) -> str:
    """Keep the bytes that follow as a file: whole and durable under its name, or not at all.

    The new file is secret until its mode is set, checked after it was written, and renamed into place.
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
        [ "$(sha256sum <"$new")" = '{digest}  -' ] || fail 'what arrived is not what was sent'
        chmod {mode:o} "$new" && sync "$new" && mv -f -- "$new" {name} && sync .
    """)


def lock_line(mark: str, run: str, holder: str, *, shared: bool) -> str:
    """Hold the run lock as long as the channel lives: says `held`, or `busy` and who holds it.

    Each holder is in `runs/`, in a file locked like that; one that is not locked belongs to the dead.
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
"""Says the name of each run that holds the lock at this moment."""


def _line(text: str) -> str:
    """Join the commands into the one line that the shell reads first."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return "; ".join(lines) + "\n"
