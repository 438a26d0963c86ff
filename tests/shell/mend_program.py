"""The program that mends Docker's errors, run by a shell in a folder of the test's own; samples of its input."""

from __future__ import annotations

import subprocess
from pathlib import Path

from provision.planes.etcd.node import MEND, program

FUNCTIONS, _, _ = program(*MEND).decode().rpartition("case ${1-} in")
OWN, SECOND, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"
OTHER_MAC = "02:00:00:00:00:09"
NETWORK, ID, SANDBOX = "a" * 64, "b" * 64, "c" * 64
SPACE, INODE = "/run/docker/netns/1-aaaaaaaaaa", "4026532646"
LIVES, HAD = f"space {SPACE} {INODE}", f"had {INODE} 02:42:0a:63:00:05"
MAC, ADDRESS = "02:42:0a:63:00:05", "10.99.0.5"


class Program:
    """The program's functions in a shell."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.command, self.folder = command, folder
        # Each shell runs with the awk of its kind of host.
        self.awk = 'awk() { busybox awk "$@"; }\n' if command[0] == "busybox" else ""
        (folder / "store.env").write_text(f"OVERLAY_STORE=etcd://{OWN}:2379\nOVERLAY_ADVERTISE={OWN}:2376\n")

    def run(self, script: str, given: str = "") -> list[str]:
        """Run a script after the functions; return the lines that it prints. It must print no error message."""
        environment = {"OVERLAY_PKI": str(self.folder), "OVERLAY_RUN": str(self.folder), "PATH": "/usr/bin:/bin"}
        (self.folder / "program").write_text(f"{FUNCTIONS}\n{self.awk}{script}\n")
        command = [*self.command, str(self.folder / "program")]
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


def endpoint(host: str, *, address: str = ADDRESS, mac: str = MAC, sandbox: str = SANDBOX, name: str = "web") -> str:
    return f"endpoint {NETWORK} {mac} {address} {host} {name} {ID} {sandbox}"


def known_as(name: str, host: str = SECOND) -> str:
    """Return the name of an endpoint."""
    return f"name {NETWORK} {ID} {host} {ADDRESS} {name}"


def space(*rows: str) -> str:
    """Return a network's namespace with these rows."""
    return "\n".join(
        (f"network aaaaaaaaaa {SPACE} {INODE}", "aa:aa:aa:aa:aa:aa dev vxlan0 master br0 permanent", *rows)
    )


def forwarding(host: str, mac: str = MAC, device: str = "vxlan0") -> str:
    return f"{mac} dev {device} dst {host} link-netnsid 0 self permanent"


def learned(device: str) -> str:
    """Return what a bridge has learned from a packet: the container is behind this port."""
    return f"{MAC} dev {device} master br0 "


def neighbour(mac: str = MAC, address: str = ADDRESS) -> str:
    return f"{address} dev vxlan0 lladdr {mac} PERMANENT"


def told(host: str, was: str) -> str:
    return f"{SPACE} vxlan0 {MAC} {ADDRESS} {host} web {NETWORK} {ID} {was}"
