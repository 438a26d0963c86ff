"""The two kinds of socket to an SSH port that the SSH library does not make well itself."""

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
    """Acknowledges at once what it receives.

    sshd sends its first messages after a login as separate small packets, each of which waits for the
    acknowledgement of the one before: 40 ms a connection if the kernel delays that as usual.
    """

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive, and stay prompt: the kernel forgets the wish whenever it likes."""
        data = super().recv(size, flags)
        if hasattr(socket, "TCP_QUICKACK"):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def dial(host: str, port: int) -> socket.socket:
    """Connect straight. OSError if it cannot."""
    plain = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
    link = PromptSocket(plain.family, plain.type, plain.proto, plain.detach())
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_LIMIT_MS)
    return link


class ProxyProcess:
    """A ProxyCommand whose stdin and stdout are one end of a socket pair; `socket` is the other.

    The SSH library then reads a plain socket, several times faster than its own pipes.
    """

    def __init__(self, command: str) -> None:
        """Start the command with the shell, away from the terminal's Ctrl-C."""
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
        """The last line the command wrote to stderr, or nothing."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End the command and everything it started."""
        self.socket.close()
        for deadly in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, deadly)
                self._process.wait(timeout=1)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._process.wait()
        self._words.close()
