"""The connection to one node."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from paramiko import Channel

from provision.errors import ConnectionFailed, Problem, StepFailed
from provision.inventory.model import Node
from provision.remote import refusals
from provision.remote.connection import (
    EVERYBODYS_SOCKET,
    Gateways,
    Link,
    forwarding_refused,
    open_forwarding,
    open_socket,
    sockets_refused,
)
from provision.remote.scripts import push_line, run_line
from provision.remote.shell import SUDO_TIMEOUT, Result, SessionRefusedError, Shell
from provision.remote.target import Login, target_of
from provision.remote.tunnel import Tunnel

READ_SIZE = 1 << 20


class Remote:
    """The connection to one node, with root privileges. Every method may be called from several threads."""

    def __init__(self, node: Node, login: Login, gateways: Gateways | None = None) -> None:
        """Connect, check the host key, log in, run sh as root. ConnectionFailed says which step failed.

        `gateways` holds the jump hosts shared with other nodes; its owner closes it.
        """
        self.node = node
        self._login = login
        self._own_gateways = None if gateways else Gateways(login)
        self._gateways = gateways or self._own_gateways or Gateways(login)
        self._tunnels: list[Tunnel] = []
        self._folders = ExitStack()
        self._more_links: list[Link] = []
        self._linking = threading.Lock()
        self._may_have_changed = False
        try:
            self._link = Link(target_of(node, login), login, node.name, self._gateways)
            self._prove()
        except BaseException:
            self.close()
            raise

    def _prove(self) -> None:
        try:
            Shell(self._link, self._login, "a first script", SUDO_TIMEOUT).prove()
        except SessionRefusedError:
            raise ConnectionFailed(refusals.of_sessions(self._link)) from None
        except StepFailed as error:
            advice = "see journalctl -u ssh there; sshd may allow no command: PermitRootLogin forced-commands-only"
            problems = (Problem(problem.what, problem.where, advice) for problem in error.problems)
            raise ConnectionFailed(*problems) from None

    @property
    def user(self) -> str:
        """The user who has logged in; commands run as root all the same."""
        return self._link.target.user

    def run(
        self, script: str, *, timeout: float = 120, changes: bool = False, guest: bool = False, what: str = "a script"
    ) -> Result:
        """Run a POSIX sh script as root, and return its result; any exit code is a result.

        The script is killed after `timeout` seconds, and when this process or its connection ends. With `changes`
        it first waits for a step that a killed earlier run left running. A `guest` is not ours: what it leaves running
        holds no lock of ours. `what` names the script in errors.
        StepFailed if the script takes too long or the connection is lost.
        """
        shell, mark = self._start(script, timeout, what, changes=changes, guest=guest)
        return shell.finish(mark)

    def carry_out(self, script: str, what: str) -> None:
        """Run a script that changes the node. StepFailed with its last words if it fails, and as `run` has it."""
        result = self.run(script, changes=True, what=what)
        if result.code:
            words = result.stderr.strip()[-400:] or f"exit code {result.code}"
            raise StepFailed(Problem(f"{what}: {words}", self.node.name, "mend that, then run the same command again"))

    def collect(self, script: str, *, timeout: float, what: str) -> tuple[str, Problem | None]:
        """Run a script that changes nothing. Return the output that arrived, and the problem that ended it early.

        StepFailed if the script cannot be started.
        """
        shell, mark = self._start(script, timeout, what)
        try:
            return shell.finish(mark).stdout, None
        except StepFailed as error:
            return bytes(shell.stdout).partition(mark.encode())[2].decode(errors="replace"), error.problems[0]

    @contextmanager
    def running(self, script: str, *, timeout: float, what: str) -> Iterator[None]:
        """Run a script beside the block, from its first line of output on. It is ended with the block.

        StepFailed if it ends without a line.
        """
        shell, mark = self._start(script, timeout, what)
        try:
            if not shell.wait_for_line(mark):
                words = shell.finish(mark).stderr.strip()[-400:]
                raise StepFailed(Problem(f"{what}: {words}", self.node.name, "nothing was changed"))

            def attend() -> None:
                """Send heartbeats, without which the node ends the script."""
                with suppress(StepFailed):  # the block may close the shell
                    shell.finish(mark)

            threading.Thread(target=attend, name=what, daemon=True).start()
            yield
        finally:
            shell.close()

    def _start(
        self, script: str, timeout: float, what: str, *, changes: bool = False, guest: bool = False
    ) -> tuple[Shell, str]:
        self._may_have_changed |= changes
        mark = secrets.token_hex(8)
        data = f"{script}\n#{mark}".encode()
        shell = self.shell(what, timeout)
        shell.send(run_line(mark, len(data), changes=changes, guest=guest).encode() + data)
        return shell, mark

    def push(self, data: bytes | Path, path: str, *, mode: int = 0o600, timeout: float = 600) -> None:
        """Write a file owned by root, durably, completely or not at all; its folder must exist.

        StepFailed if the file cannot be written, arrives damaged, or no data moves for 30 s.
        """
        if not path.startswith("/") or "\n" in path or path.endswith("/"):
            raise ValueError(f"not the absolute path of a file: {path!r}")
        self._may_have_changed = True
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
            reason = result.stderr.strip().split("\n")[-1]
            what = f"{path} could not be written: {reason or f'exit code {result.code}'}"
            raise StepFailed(Problem(what, self.node.name, "the previous file is unchanged"))

    def tunnel(self, port: int, address: str | None = None) -> int:
        """Return a port on 127.0.0.1 that is forwarded through the node to address:port, until `close`.

        The default address is the node's own from the inventory. ConnectionFailed if sshd refuses to forward.
        While nothing listens at address:port, connections to the local port are closed.
        """
        listener = socket.create_server(("127.0.0.1", 0))
        number: int = listener.getsockname()[1]
        host = address or self.node.address
        self._serve(listener, partial(open_forwarding, self._link, host, port, self._link.where))
        return number

    def socket_tunnel(self, path: str) -> str:
        """Return a Unix socket of this process's user that is forwarded to one of the node's, until `close`.

        The SSH user needs access to that socket. ConnectionFailed if sshd refuses to forward.
        """
        folder = self._folders.enter_context(TemporaryDirectory(prefix="overlay-"))  # nobody else can enter it
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"{folder}/socket")
        listener.listen()
        self._serve(listener, partial(open_socket, self._link, path, self._link.where))
        return f"{folder}/socket"

    def _serve(self, listener: socket.socket, open_stream: Callable[[], Channel]) -> None:
        try:
            self._tunnels.append(Tunnel(listener, open_stream))
        except BaseException:
            listener.close()
            raise

    def tunnel_refused(self, port: int) -> Problem | None:
        """Return why sshd refuses a tunnel to this port of the node. None if it forwards, even if nothing listens."""
        return forwarding_refused(self._link, self.node.address, port)

    def sockets_refused(self, answering: str = EVERYBODYS_SOCKET) -> Problem | None:
        """Return why sshd refuses tunnels to Unix sockets, tried with one that answers. None if it forwards."""
        return sockets_refused(self._link, answering)

    def shell(self, what: str, timeout: float) -> Shell:
        """Start a root shell, for work that `run` and `push` cannot do.

        Where sshd allows fewer sessions on one connection (MaxSessions), it is started on a further one.
        """
        try:
            for link in (self._link, *self._more_links):
                with suppress(SessionRefusedError):
                    return Shell(link, self._login, what, timeout)
            return self._shell_of_its_own(what, timeout)
        except ConnectionFailed as error:
            if self._may_have_changed:
                raise StepFailed(*error.problems) from None
            raise

    def _shell_of_its_own(self, what: str, timeout: float) -> Shell:
        """Start a root shell on a further connection, which others use only afterwards. ConnectionFailed."""
        with self._linking:
            try:
                link = Link(self._link.target, self._login, self.node.name, self._gateways)
            except ConnectionFailed as error:
                reason = f"sshd opens no more sessions on one connection (MaxSessions), and no other: {error}"
                raise ConnectionFailed(
                    Problem(reason, self.node.name, refusals.of_sessions(self._link).advice)
                ) from None
            try:
                return Shell(link, self._login, what, timeout)
            except SessionRefusedError:
                raise ConnectionFailed(refusals.of_sessions(link)) from None
            finally:
                self._more_links.append(link)

    def close(self) -> None:
        """Close the tunnels and the connection. Scripts that still run on the node are ended."""
        for tunnel in self._tunnels:
            tunnel.close()
        self._folders.close()
        for link in (*self._more_links, *([self._link] if hasattr(self, "_link") else [])):
            link.close()
        if self._own_gateways is not None:
            self._own_gateways.close()


def connect(node: Node, login: Login) -> Remote:
    """Connect to one node. ConnectionFailed if a step of it fails."""
    return Remote(node, login)
