"""Swarm mode's program that stays on a node, run by a shell with a Docker of the test's own; samples of its input."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from provision.planes.swarm.node import MEND, program

FUNCTIONS, _, _ = program(*MEND).decode().rpartition("case ${1-} in")
OWN, SECOND, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"
DEMO = "demo=icq4cv4xitbyoz7bevmfa7iq9"
BRIDGE = f"own={'a' * 64}"
NOT_ATTACHED = "Could not attach to network demo: context deadline exceeded"
BEGAN, BEFORE, AFTER = "2026-11-27T00:07:23.088442578", "2026-11-27T00:07:22.1282Z", "2026-11-27T00:07:33.2895Z"

#: Docker: what it prints is in files beside it; containers whose ID is in `startable` start. Its commands are recorded.
DOCKER = """#!/bin/sh
here=${0%/*}
echo "$*" >>"$here/asked"
case "$1 $*" in
ps*) cat "$here/ps" ;;
info*NodeAddr*) echo 192.0.2.1 ;;
info*) echo "$here/data" ;;
inspect*) cat "$here/states" ;;
network*) cat "$here/peers" ;;
start*) grep -x "$2" "$here/startable" ;;
esac
"""


class Program:
    """The program's functions in a shell."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.command, self.folder = command, folder
        self.docker = folder / "docker"
        self.docker.write_text(DOCKER)
        self.docker.chmod(0o755)
        (folder / "systemctl").write_text('#!/bin/sh\n! [ -e "${0%/*}/stopping" ]\n')
        (folder / "systemctl").chmod(0o755)
        for name in ("asked", "ps", "states", "peers", "startable"):
            (folder / name).touch()
        (folder / "data" / "containers").mkdir(parents=True)
        (folder / "expected").write_text(f"{OWN}\n{SECOND}\n{THIRD}\n")
        (folder / "docker.pid").write_text(str(os.getpid()))  # without an end of line, as Docker writes it
        # Each shell runs with the awk of its kind of host.
        self.own = 'awk() { busybox awk "$@"; }\nfind() { busybox find "$@"; }\n' if command[0] == "busybox" else ""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the program reads."""
        return {
            "OVERLAY_PEERS": str(self.folder / "expected"),
            "OVERLAY_RUN": str(self.folder),
            "OVERLAY_PIDFILE": str(self.folder / "docker.pid"),
            "OVERLAY_STATE": str(self.folder / "state"),
            "PATH": "/usr/bin:/bin",
        }

    def write(self, script: str) -> Path:
        """Write a program of the functions and a script."""
        path = self.folder / "program"
        path.write_text(f"{FUNCTIONS}\n{self.own}PATH={self.folder}:$PATH\n{script}\n")
        return path

    def run(self, script: str, given: str = "") -> list[str]:
        """Run a script after the functions; return the lines that it prints. It must print no error message."""
        # `timeout` ends the shell's children too.
        command = ["timeout", "60", *self.command, str(self.write(script))]
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=self.environment, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    def has(self, **containers: str) -> None:
        """Give Docker stopped containers, by their names: the state of each, without its ID and its name."""
        ids = {name: f"{number:064x}" for number, name in enumerate(containers)}
        (self.folder / "ps").write_text("".join(f"{each} exited \n" for each in ids.values()))
        states = "".join(f"{ids[name]} {name} {state}\n" for name, state in containers.items())
        (self.folder / "states").write_text(states)
        (self.folder / "startable").write_text("".join(f"{each}\n" for each in ids.values()))

    def asked(self, word: str) -> int:
        """Return how many times Docker was asked for this."""
        return sum(line.split()[0] == word for line in (self.folder / "asked").read_text().splitlines())


def state(
    error: str = NOT_ATTACHED, *, policy: str = "always", on: str = DEMO, started: str = BEFORE, finished: str = BEFORE
) -> str:
    """Return a container's state as the program reads it, without ID and name."""
    return f'{policy} {started} {finished} {on} : "{error}"'
