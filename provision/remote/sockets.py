"""Sockets to an SSH port: a TCP connection that acknowledges at once, and the process of a ProxyCommand."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from typing import IO, TypeVar

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds for a TCP connection, a banner, or a jump host's answer."""

HURRIED_TIMEOUT = 3.0
"""The same for a host that is expected to be silent."""

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


def dial(host: str, port: int, timeout: float) -> socket.socket:
    """Open a direct TCP connection within `timeout` seconds. OSError if that fails."""
    plain = socket.create_connection((host, port), timeout=timeout)
    link = PromptSocket(plain.family, plain.type, plain.proto, plain.detach())
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_LIMIT_MS)
    return link


class PipeStream:
    """The two pipes of a process as one stream, with the methods of a socket that paramiko calls.

    A timeout is in seconds; None waits forever.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        """Own two descriptors: one to read from, one to write to."""
        self._incoming, self._outgoing = incoming, outgoing
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(incoming, select.POLLIN)
        self._writable.register(outgoing, select.POLLOUT)
        for descriptor in (incoming, outgoing):
            os.set_blocking(descriptor, False)
        self._timeout: float | None = None
        # After `close` the kernel may give the numbers of the descriptors to others.
        self._lock = threading.Lock()
        self._closed = False

    def settimeout(self, timeout: float | None) -> None:
        """Set how long `recv` and `send` wait."""
        self._timeout = timeout

    def recv(self, size: int) -> bytes:
        """Receive data; empty at the end of the stream. TimeoutError if none comes in time."""
        return self._try(self._readable, lambda: os.read(self._incoming, size))

    def send(self, data: bytes) -> int:
        """Send the start of the data, and return how many bytes. TimeoutError if the process takes none in time."""
        return self._try(self._writable, lambda: os.write(self._outgoing, data))

    def _try(self, ready: select.poll, transfer: Callable[[], T]) -> T:
        if not ready.poll(None if self._timeout is None else self._timeout * 1000):
            raise TimeoutError
        with self._lock:
            if self._closed:
                raise BrokenPipeError
            try:
                return transfer()
            except BlockingIOError:  # others took the data or the room
                raise TimeoutError from None

    def close(self) -> None:
        """Close both pipes. A process that still reads sees the end of its input."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._outgoing)
                os.close(self._incoming)


class ProxyProcess:
    """A ProxyCommand as OpenSSH starts it: by the user's shell, with pipes as its standard input and output.

    `stream` is connected to them. With `passes_descriptor`, the command passes on a connection that it has opened.
    """

    def __init__(self, command: str, *, passes_descriptor: bool = False) -> None:
        """Start the command in a session of its own, so that Ctrl-C does not reach it. OSError if that fails."""
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._command = (os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}")
        try:
            self.stream = self._passed() if passes_descriptor else self._piped()
        except OSError:
            self._words.close()
            raise

    def _start(self, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 (the user's own, as in OpenSSH)
            self._command, stdin=stdin, stdout=stdout, stderr=self._words, start_new_session=True
        )

    def _piped(self) -> PipeStream:
        to_read, outgoing = os.pipe()
        incoming, to_write = os.pipe()
        stream = PipeStream(incoming, outgoing)
        try:
            self._process = self._start(to_read, to_write)
        except OSError:
            stream.close()
            raise
        finally:
            os.close(to_read)
            os.close(to_write)
        return stream

    def _passed(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._process = self._start(theirs.fileno(), theirs.fileno())
            ours.settimeout(CONNECT_TIMEOUT)
            try:
                _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
                return socket.socket(fileno=descriptors[0])
            except (OSError, IndexError):
                self._end()
                what = f"the ProxyCommand passed no connection on (ProxyUseFdpass yes) {self.last_words()}"
                raise OSError(what.rstrip()) from None

    def last_words(self) -> str:
        """Return the last line that the command wrote to stderr; empty if there is none."""
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End the command and everything it started."""
        self._end()
        self.stream.close()
        self._words.close()

    def _end(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(timeout=1)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self._process.wait()
