"""A real sshd on a free loopback port, with its own keys and, in a mount namespace, its own users and /run.

Users: root, and `ops`, who may use sudo with the password below. Nothing on the machine is changed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provision.inventory.model import SSH, Node

SUDO_PASSWORD = "canary-3f81c2"
OPS_ID = 4711

# Own copies of what tells users and rights, and an empty /run, seen by this sshd and its children only.
NAMESPACE = """
set -e
mount -t tmpfs -o mode=755 run /run
mkdir -m 755 /run/sshd
for file in passwd shadow group sudoers; do mount --bind {folder}/etc/$file /etc/$file; done
{more}
exec /usr/sbin/sshd -D -e -f {folder}/sshd_config
"""

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 100
"""


# busybox in the place of every command that our scripts use and it has, the shell first.
BUSYBOX = """
for name in sh cat chmod flock head mkdir mktemp mv rm setsid sha256sum sleep sync timeout; do
    busybox --list | grep -qx $name || continue
    mount --bind "$(command -v busybox)" "$(readlink -f "$(command -v $name)")"
done
"""


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_true(condition: Callable[[], bool], limit: float = 30) -> None:
    """Wait for a condition; the limit is only there so that a failing test ends."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@dataclass
class Sshd:
    """A running server and the key that opens it."""

    folder: Path
    port: int
    key: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls,
        folder: Path,
        options: str = "",
        *,
        shell: str = "/bin/sh",
        root_shell: str = "/bin/sh",
        root_has_password: bool = False,
        sudoers: str = "",
        namespace: str = "",
        settings: str = "",
    ) -> Sshd:
        """Start one. `shell` is that of ops; `namespace` is run as root before sshd starts.

        `settings` stand before the server's own, so that they count; `options` after them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        etc = folder / "etc"
        etc.mkdir()
        home = folder / "home"
        home.mkdir()
        os.chown(home, OPS_ID, OPS_ID)
        folder.chmod(0o755)
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", SUDO_PASSWORD], check=True, capture_output=True, text=True
        ).stdout.strip()
        root = f"root:x:0:0:root:{folder}/roothome:{root_shell}\n"
        (folder / "roothome").mkdir(mode=0o700)
        nobody = "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
        (etc / "passwd").write_text(f"{root}{nobody}ops:x:{OPS_ID}:{OPS_ID}::{home}:{shell}\n")
        of_root = hashed if root_has_password else "*"
        (etc / "shadow").write_text(f"root:{of_root}:19000:0:99999:7:::\nops:{hashed}:19000:0:99999:7:::\n")
        (etc / "shadow").chmod(0o640)
        (etc / "group").write_text(f"root:x:0:\nsudo:x:27:ops\nnogroup:x:65534:\nops:x:{OPS_ID}:\n")
        (etc / "sudoers").write_text(sudoers or "Defaults env_reset,use_pty\nops ALL=(ALL:ALL) ALL\n")
        (etc / "sudoers").chmod(0o440)
        key = make_key(folder / "id")
        make_key(folder / "host_key")
        (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
        port = free_port()
        (folder / "sshd_config").write_text(f"{settings}\n{CONFIG.format(port=port, folder=folder)}{options}")
        script = NAMESPACE.format(folder=folder, more=namespace)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
                stderr=log,
                stdout=log,
                start_new_session=True,
            )
        server = cls(folder, port, key, process)
        server.await_ready()
        return server

    def await_ready(self) -> None:
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
            else:
                return

    def node(self, name: str = "node1", address: str = "127.0.0.1", **ssh: Any) -> Node:
        return Node(name, address, True, replace(self.ssh(), **ssh))

    def ssh(self) -> SSH:
        return SSH(
            host="127.0.0.1",
            user="root",
            port=self.port,
            key=self.key,
            known_hosts=self.folder / "known_hosts",
            host_keys="accept-new",
            gateway=None,
        )

    def inside(self, script: str) -> str:
        """Run a script where the server sees /run and /etc."""
        command = ["nsenter", "-t", str(self.process.pid), "-m", "sh", "-c", script]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def rekey(self) -> None:
        """Make a new host key, as a machine made anew would have."""
        (self.folder / "host_key").unlink()
        make_key(self.folder / "host_key")
        started = self.log().count("Server listening")
        os.kill(self.process.pid, signal.SIGHUP)
        await_true(lambda: self.log().count("Server listening") > started)

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


StartSshd = Callable[..., Sshd]
"""What the fixture `start` is: see `Sshd.start`."""
