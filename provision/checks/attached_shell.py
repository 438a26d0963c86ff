"""A shell in a container, attached through Docker's API: a script takes it a few milliseconds, a Docker exec 50."""

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

#: Seconds to wait for the next output of a script.
ANSWER_SECONDS = 60

#: Bytes in the header of each frame of a container's output; the last four are the frame's length.
HEADER = 8


def command(seconds: int) -> list[str]:
    """Return the command of a container that runs what is attached to its stdin, and ends after so many seconds."""
    return ["sh", "-c", f"exec 3<&0; sh <&3 & exec sleep {seconds}"]


class ShellLostError(Exception):
    """The attached shell has ended, or does not answer."""


class AttachedShell:
    """One attached shell. Attach it before the container is started: earlier output is lost."""

    def __init__(self, api: APIClient, container: str) -> None:
        """Attach to a container by name or ID. It runs `command`, with stdin open. APIError if Docker refuses."""
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        # For a Unix socket, Docker's client returns a reader around it; the reader's end would be the socket's.
        self._given = api.attach_socket(container, params=streams)
        self._socket: socket.socket = getattr(self._given, "_sock", self._given)
        self._socket.settimeout(ANSWER_SECONDS)
        self._lock = Lock()

    def run(self, script: str, *arguments: str) -> str:
        """Run a script with arguments; return its stdout and stderr. ShellLostError if the shell is gone."""
        mark = secrets.token_hex(8)
        order = f"(set -- {shlex.join(arguments)}\n{script}\n) </dev/null 2>&1\nprintf %s {mark}\n"
        said = bytearray()
        with self._lock:
            try:
                self._socket.sendall(order.encode())
                while not said.endswith(mark.encode()):
                    said += self._exactly(int.from_bytes(self._exactly(HEADER)[-4:]))
            except OSError as error:
                raise ShellLostError(f"the shell in a container is lost: {error}") from error
        return said[: -len(mark)].decode(errors="replace")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the shell has ended")
            data += more
        return data

    def close(self) -> None:
        """Close the connection. Docker's client holds the socket too, so that closing the object is not enough."""
        with suppress(OSError):  # the socket may be closed already
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            os.close(self._socket.detach())
