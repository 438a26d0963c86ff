"""Open a connection to an SSH server: the socket, the host key, the login, and the error when a step fails."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

from fabric import Config
from fabric import Connection as FabricConnection
from paramiko import (
    AuthenticationException,
    Channel,
    ChannelException,
    SSHException,
)
from paramiko.config import SSHConfig

from provision.errors import ConnectionFailed, HostSilent, Problem
from provision.remote import host_keys
from provision.remote.host_key_policy import AnsweredError, HostKeyCheck, HostKeyPolicy, check_host_key
from provision.remote.identities import Identities
from provision.remote.sockets import CONNECT_TIMEOUT, HURRIED_TIMEOUT, PipeStream, ProxyProcess, dial
from provision.remote.target import Login, Target
from provision.remote.transport import SharedTransport

LOGIN_TIMEOUT = 20
"""Seconds sshd may take to accept or refuse a key; it may look up names or query a directory service."""

EVERYBODYS_SOCKET = "/run/systemd/journal/stdout"
"""A Unix socket of every host with systemd: everybody may connect, and a connection that closes leaves no trace."""

# AES-GCM needs one call per packet instead of two, and is about twice as fast as paramiko's first choice.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

# Without a handler, Python prints paramiko's tracebacks to the user. The errors below describe the failure instead.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Gateways:
    """The jump hosts of one run. Each is connected to once, and all nodes behind it share the connection."""

    def __init__(self, login: Login, check: HostKeyCheck | None = None) -> None:
        """Open nothing yet. `check` accepts or refuses the host key of every server of the run."""
        self.check = check or check_host_key
        self._login = login
        self._lock = threading.Lock()
        self._locks: dict[Target, threading.Lock] = {}
        self._links: dict[Target, Link | ConnectionFailed] = {}

    def open(self, target: Target) -> Link:
        """Return the connection to a jump host, opened at the first call. All calls raise the same ConnectionFailed."""
        with self._lock:
            lock = self._locks.setdefault(target, threading.Lock())
        with lock:
            if target not in self._links:
                try:
                    self._links[target] = Link(target, self._login, f"jump host {target.host}", self)
                except ConnectionFailed as error:
                    self._links[target] = error
        link = self._links[target]
        if isinstance(link, ConnectionFailed):
            raise ConnectionFailed(*link.problems)
        return link

    def close(self) -> None:
        """Close the connections in reverse order: a later one may run through an earlier one."""
        for link in reversed(self._links.values()):
            if isinstance(link, Link):
                link.close()


class Link:
    """A connection to one SSH server, with its host key checked and the user logged in."""

    def __init__(self, target: Target, login: Login, where: str, gateways: Gateways) -> None:
        """Connect. ConnectionFailed has one problem, or the problems of the jump host; it may be HostSilent."""
        self.target = target
        self.where = where
        self._patience = HURRIED_TIMEOUT if where in login.hurried else CONNECT_TIMEOUT
        self._proxy: ProxyProcess | None = None
        self._identities = Identities(target)
        self._fabric: Any = None
        try:
            try:
                self._open(login, gateways)
            except AnsweredError:
                self.close()
                self._open(login, gateways)
        except ConnectionFailed:
            self.close()
            raise
        except (OSError, SSHException, EOFError) as error:
            problem = self._explain(error)
            self.close()
            kind = HostSilent if isinstance(error, OSError) else ConnectionFailed
            raise kind(problem) from None
        except BaseException:
            self.close()
            raise

    @property
    def transport(self) -> SharedTransport:
        """The paramiko transport on which channels are opened."""
        transport: SharedTransport = self._fabric.transport
        return transport

    def _open(self, login: Login, gateways: Gateways) -> None:
        target = self.target
        options = {
            "sock": self._socket(gateways),
            "transport_factory": self._transport,
            "auth_strategy": self._identities,
            "banner_timeout": self._patience,
            "auth_timeout": LOGIN_TIMEOUT,
            "channel_timeout": self._patience,
        }
        # An empty configuration: `resolve` has already asked OpenSSH, and Fabric's -i is not a key here.
        connection = FabricConnection(
            target.host,
            user=target.user,
            port=target.port,
            config=Config(ssh_config=SSHConfig()),
            gateway=False,
            connect_timeout=int(self._patience),
            connect_kwargs=options,
        )
        self._fabric = connection
        connection.client.set_missing_host_key_policy(
            HostKeyPolicy(lambda key: gateways.check(target, login, self.where, key))
        )
        connection.open()
        self.transport.watch()

    def _socket(self, gateways: Gateways) -> socket.socket | PipeStream | Channel:
        target = self.target
        if target.command:
            self._proxy = ProxyProcess(target.command, passes_descriptor=target.passes_descriptor)
            return self._proxy.stream
        if target.jump is None:
            return dial(target.host, target.port, self._patience)
        jump = gateways.open(target.jump)
        return open_forwarding(jump, target.host, target.port, self.where, self._patience)

    def _transport(self, sock: socket.socket, disabled_algorithms: Any = None) -> SharedTransport:
        transport = SharedTransport(sock, disabled_algorithms=disabled_algorithms)
        options = transport.get_security_options()
        fast = [cipher for cipher in CIPHERS if cipher in options.ciphers]
        options.ciphers = (*fast, *(cipher for cipher in options.ciphers if cipher not in fast))
        known = host_keys.read(self.target.known_hosts)
        options.key_types = host_keys.preferred(known, self.target.known_as, options.key_types)
        return transport

    def _explain(self, error: Exception) -> Problem:
        target = self.target
        manual = target.command_line
        if isinstance(error, AuthenticationException):
            what = f"login as {target.user} refused: {self._identities.explanation()}"
            # Root may also be refused with the right key.
            of_root = " (sshd may have PermitRootLogin forced-commands-only)" if target.user == "root" else ""
            advice = self._identities.advice() or f"name the right key as ssh.key{of_root}; try: {manual}"
            return Problem(what, self.where, advice)
        last_words = self._proxy.last_words() if self._proxy else ""
        what = f"{target.host} port {target.port} cannot be reached: {_reason(error, self._patience)}"
        if target.command:
            what += f" (through `{target.command}`{': ' + last_words if last_words else ''})"
        return Problem(what, self.where, f"check that the host is up and that its sshd listens; try: {manual}")

    def close(self) -> None:
        """Close the connection, and end the process of a ProxyCommand."""
        transport = self._fabric.client.get_transport() if self._fabric else None
        if transport is not None:
            # Wakes paramiko's reader thread at once; otherwise it polls every tenth of a second.
            if isinstance(transport.sock, socket.socket):
                _shutdown(transport.sock)
            transport.close()
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None


def _shutdown(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _reason(error: Exception, patience: float) -> str:
    match error:
        case ConnectionRefusedError():
            return "the port refuses connections"
        case TimeoutError():
            return f"no answer within {patience:g} s"
        case socket.gaierror():
            return "the name is unknown"
        case OSError():
            return error.strerror or str(error)
        case EOFError():
            return "the connection was closed before the login"
        case _ if "banner" in str(error):
            return "the server there is not an SSH server, or hangs up at once"
        case _:
            return str(error) or type(error).__name__


class UnansweredError(ConnectionError):
    """sshd forwards, but nothing answers at the address and port."""


def open_forwarding(link: Link, host: str, port: int, where: str, timeout: float = CONNECT_TIMEOUT) -> Channel:
    """Open a stream from the server to host:port.

    ConnectionFailed if sshd refuses to forward; UnansweredError if nothing answers at host:port.
    """
    try:
        return link.transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout)
    except ChannelException as error:
        if error.code != 1:  # 1: administratively prohibited
            raise UnansweredError(f"{link.target.host} cannot connect to {host}:{port}: {error.text}") from None
        what = f"sshd on {link.target.host} refuses to forward to {host}:{port}"
        advice = "set AllowTcpForwarding yes (and PermitOpen any) for this user in its sshd_config, then reload sshd"
        raise ConnectionFailed(Problem(what, where, advice)) from None


def open_socket(link: Link, path: str, where: str) -> Channel:
    """Open a stream from the server to a Unix socket there.

    ConnectionFailed if sshd refuses to forward; UnansweredError if nothing answers at the socket.
    """
    try:
        return link.transport.open_socket(path, CONNECT_TIMEOUT)
    except ChannelException as error:
        if error.code != 1:  # 1: administratively prohibited
            raise UnansweredError(f"{link.target.host} cannot connect to {path}: {error.text}") from None
        what = f"sshd on {link.target.host} refuses to forward to {path}"
        advice = "set AllowStreamLocalForwarding yes for this user in its sshd_config, then reload sshd"
        raise ConnectionFailed(Problem(what, where, advice)) from None


def sockets_refused(link: Link, path: str) -> Problem | None:
    """Return why the server does not forward to Unix sockets, tried with one that answers. None if it does."""
    try:
        open_socket(link, path, link.where).close()
    except (ConnectionFailed, UnansweredError, SSHException, OSError, EOFError):
        # sshd gives the same answer for a socket that does not answer as for one that it does not forward to.
        what = f"sshd on {link.target.host} does not forward to Unix sockets (tried: {path})"
        advice = "set AllowStreamLocalForwarding yes and AllowTcpForwarding yes for this user in its sshd_config, "
        return Problem(what, link.where, f"{advice}then reload sshd")
    return None


def forwarding_refused(link: Link, host: str, port: int) -> Problem | None:
    """Return why the server does not forward to host:port. None if it does, even where nothing listens yet."""
    try:
        open_forwarding(link, host, port, link.where).close()
    except UnansweredError:
        return None
    except ConnectionFailed as error:
        return error.problems[0]
    except (SSHException, OSError, EOFError):
        what = f"sshd on {link.target.host} does not answer when asked to forward to {host}:{port}"
        return Problem(what, link.where, f"look for the cause on the node: nc -vz {host} {port}")
    return None
