"""One node, connected."""

from __future__ import annotations

import secrets
from hashlib import file_digest, sha256
from pathlib import Path

from provision.errors import ConnectionFailed, Problem, StepFailed
from provision.inventory.model import Node
from provision.remote.connection import Gateways, Link, forwarding_refused
from provision.remote.scripts import push_line, run_line
from provision.remote.shell import SUDO_TIMEOUT, Result, Shell
from provision.remote.target import Login, target_of
from provision.remote.tunnel import Tunnel

READ_SIZE = 1 << 20


class Remote:
    """One node, connected, with root's powers. Every method may be called from several threads."""

    def __init__(self, node: Node, login: Login, gateways: Gateways | None = None) -> None:
        """Connect, check the host key, log in, become root. ConnectionFailed says which of them failed.

        `gateways` holds jump hosts shared with other nodes and closed by who made them.
        """
        self.node = node
        self._login = login
        self._own_gateways = None if gateways else Gateways(login)
        self._tunnels: list[Tunnel] = []
        try:
            target = target_of(node, login)
            self._link = Link(target, login, node.name, gateways or self._own_gateways or Gateways(login))
            if target.user != "root":
                self._prove_root()
        except BaseException:
            self.close()
            raise

    def _prove_root(self) -> None:
        try:
            Shell(self._link, self._login, "sudo", SUDO_TIMEOUT).close()
        except StepFailed as error:
            raise ConnectionFailed(*error.problems) from None

    def run(self, script: str, *, timeout: float = 120, changes: bool = False, what: str = "a script") -> Result:
        """Run a POSIX sh script as root; its exit code is the caller's to judge.

        It is killed after `timeout` seconds, and when this process dies or its link does. With `changes` it
        first waits for the step of a killed earlier run. `what` names it in errors. StepFailed if it takes
        too long or the connection is lost.
        """
        shell, mark = self._begun(script, timeout, what, changes=changes)
        return shell.finish(mark)

    def collect(self, script: str, *, timeout: float, what: str) -> tuple[str, Problem | None]:
        """Run a script that only tells: return what arrived of it, and what ended it early. StepFailed at its start."""
        shell, mark = self._begun(script, timeout, what)
        try:
            return shell.finish(mark).stdout, None
        except StepFailed as error:
            return bytes(shell.stdout).partition(mark.encode())[2].decode(errors="replace"), error.problems[0]

    def _begun(self, script: str, timeout: float, what: str, *, changes: bool = False) -> tuple[Shell, str]:
        mark = secrets.token_hex(8)
        data = f"{script}\n#{mark}".encode()
        shell = self.shell(what, timeout)
        shell.send(run_line(mark, len(data), changes=changes).encode() + data)
        return shell, mark

    def push(self, data: bytes | Path, path: str, *, mode: int = 0o600, timeout: float = 600) -> None:
        """Put a file in its place, root's, durably and whole; its folder must exist.

        StepFailed if it cannot be written, arrives damaged, or nothing moves for 30 s.
        """
        if not path.startswith("/") or "\n" in path or path.endswith("/"):
            raise ValueError(f"not the absolute path of a file: {path!r}")
        mark = secrets.token_hex(8)
        shell = self.shell(f"sending {path}", timeout)
        if isinstance(data, Path):
            with data.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
                file.seek(0)
                shell.send(push_line(mark, path, digest, mode).encode())
                while part := file.read(READ_SIZE):
                    shell.send(part)
        else:
            shell.send(push_line(mark, path, sha256(data).hexdigest(), mode).encode())
            shell.send(data)
        shell.end_input()
        result = shell.finish(mark)
        if result.code:
            words = result.stderr.strip().split("\n")[-1]
            what = f"{path} could not be written: {words or f'exit code {result.code}'}"
            raise StepFailed(Problem(what, self.node.name, "the file that was there is as it was"))

    def tunnel(self, port: int, address: str | None = None) -> int:
        """Return a port on 127.0.0.1 that leads to address:port as the node sees it, until `close`.

        Without an address: the node's own from the inventory. ConnectionFailed if sshd does not forward. A
        port that nobody serves closes the caller's connection; the next call may find it served.
        """
        tunnel = Tunnel(self._link, address or self.node.address, port)
        self._tunnels.append(tunnel)
        return tunnel.port

    def tunnel_refused(self, port: int) -> Problem | None:
        """Say why sshd would lead no tunnel to this port of the node; None if it would, even where nobody serves it."""
        return forwarding_refused(self._link, self.node.address, port)

    def shell(self, what: str, timeout: float) -> Shell:
        """Start a root shell, for what `run` and `push` cannot do."""
        return Shell(self._link, self._login, what, timeout)

    def close(self) -> None:
        """Close tunnels and connection. What still runs on the node is ended."""
        for tunnel in self._tunnels:
            tunnel.close()
        if hasattr(self, "_link"):
            self._link.close()
        if self._own_gateways is not None:
            self._own_gateways.close()


def connect(node: Node, login: Login) -> Remote:
    """Connect to one node. ConnectionFailed."""
    return Remote(node, login)
