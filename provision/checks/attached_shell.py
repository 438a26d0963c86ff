"""A shell in a container, attached through Docker's API: a script takes it milliseconds, and an exec of Docker's 50."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient

#: For an answer; scripts are bounded by themselves.
ANSWER_SECONDS = 60

#: Docker puts so many bytes before each piece of what a container says; the last four are the piece's length.
HEADER = 8


def command(seconds: int) -> list[str]:
    """Return the command of a container that obeys an attached shell, and ends by itself after so many seconds."""
    return ["sh", "-c", f"exec 3<&0; sh <&3 & exec sleep {seconds}"]


class ShellLostError(Exception):
    """The shell has ended, or does not answer."""


class AttachedShell:
    """One such shell. Attach it before the container is started: nothing that was said before is heard."""

    def __init__(self, api: APIClient, container: str) -> None:
        """Attach to a container of `command`, by name or ID, whose standard input is open. Docker's APIError."""
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._socket: socket.socket = api.attach_socket(container, params=streams)
        self._socket.settimeout(ANSWER_SECONDS)
        self._lock = Lock()

    def run(self, script: str, *arguments: str) -> str:
        """Run a script with arguments; return what it said, its complaints too. ShellLostError."""
        mark = secrets.token_hex(8)
        order = f"(set -- {shlex.join(arguments)}\n{script}\n) </dev/null 2>&1\nprintf %s {mark}\n"
        said = bytearray()
        with self._lock:
            try:
                self._socket.sendall(order.encode())
                while not said.endswith(mark.encode()):
                    said += self._exactly(int.from_bytes(self._exactly(HEADER)[-4:]))
            except OSError as error:
                raise ShellLostError(f"a shell in a container is lost: {error}") from error
        return said[: -len(mark)].decode(errors="replace")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("it has ended")
            data += more
        return data

    def close(self) -> None:
        """Let go of it. Docker's client holds the socket, too, and `close` would wait until it is collected."""
        with suppress(OSError):  # it may be closed already
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            os.close(self._socket.detach())
