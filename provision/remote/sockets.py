"""Sockets to an SSH port: a TCP connection that acknowledges at once, and the process of a ProxyCommand."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from typing import IO

CONNECT_TIMEOUT = 10.0
"""Seconds for a TCP connection, a banner, or a jump host's answer."""

SILENCE_LIMIT_MS = 20_000
"""How long sent data may stay unacknowledged before the kernel gives the connection up."""


class PromptSocket(socket.socket):
    """A TCP socket that acknowledges received data at once.

    After a login sshd sends its first messages as small packets, each of which waits for the acknowledgement of the
    previous one. The kernel delays acknowledgements by default, which costs 40 ms per connection.
    """

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive data, and set TCP_QUICKACK again: the kernel may clear the option at any time."""
        data = super().recv(size, flags)
        if hasattr(socket, "TCP_QUICKACK"):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def dial(host: str, port: int) -> socket.socket:
    """Open a direct TCP connection. OSError if that fails."""
    plain = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
    link = PromptSocket(plain.family, plain.type, plain.proto, plain.detach())
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_LIMIT_MS)
    return link


class ProxyProcess:
    """A ProxyCommand whose stdin and stdout are one end of a socket pair; `socket` is the other.

    paramiko reads this socket several times faster than the pipes of its own ProxyCommand.
    """

    def __init__(self, command: str) -> None:
        """Start the command with the shell, in a session of its own, so that Ctrl-C does not reach it."""
        self.socket, theirs = socket.socketpair()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (the user's own, as in OpenSSH)
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._words,
                start_new_session=True,
            )

    def last_words(self) -> str:
        """Return the last line that the command wrote to stderr; empty if there is none."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End the command and everything it started."""
        self.socket.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(timeout=1)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._process.wait()
        self._words.close()
