"""The program that connects dockerd to the store, run by a shell with folders of the test's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from provision.planes.etcd.node import DOCKER_STORE, program

STORE = "etcd://192.0.2.1:2379,192.0.2.2:2379"
FUNCTIONS, _, _ = program(*DOCKER_STORE).decode().rpartition("case ${1-} in")


class Program:
    """The program's functions in a shell."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.command, self.folder = command, folder
        self.users, self.config = folder / "user's daemon.json", folder / "run" / "daemon.json"
        (folder / "store.env").write_text(
            f"OVERLAY_STORE={STORE}\nOVERLAY_ADVERTISE=192.0.2.1:2376\nOVERLAY_TURNS=yes\n"
            f"OVERLAY_CONFIG={str(self.users)!r}\n"
        )

    def run(self, call: str) -> Any:
        """Call a function; return dockerd's configuration afterwards. The call must succeed and print nothing."""
        environment = {
            "OVERLAY_PKI": str(self.folder),
            "OVERLAY_RUN": str(self.folder / "run"),
            "PATH": "/usr/bin:/bin",
        }
        done = subprocess.run(
            self.command, input=f"{FUNCTIONS}\n{call}\n", capture_output=True, text=True, env=environment, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return json.loads(self.config.read_text())
