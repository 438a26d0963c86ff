"""A shell in a container, attached through Docker's API: a script takes it a few milliseconds, a Docker exec 50."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

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
    """A script's shell has ended, or does not answer."""


class _Stream:
    """The input and output of a process in a container."""

    def __init__(self, given: Any) -> None:
        """Use what Docker's client gives: for a Unix socket a reader around it, whose end would be the socket's."""
        self._given = given
        self._socket: socket.socket = getattr(given, "_sock", given)
        self._socket.settimeout(ANSWER_SECONDS)

    def send(self, data: bytes) -> None:
        """Send to the process."""
        self._socket.sendall(data)

    def frame(self) -> bytes:
        """Return the next output; nothing at its end. OSError if the connection is lost."""
        first = self._socket.recv(1)
        return self._exactly(int.from_bytes(self._exactly(HEADER - 1)[-4:])) if first else b""

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("the output ends in the middle")
            data += more
        return data

    def close(self) -> None:
        """Close the connection. Docker's client holds the socket too, so that closing the object is not enough."""
        with suppress(OSError):  # the socket may be closed already
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            os.close(self._socket.detach())


def executed(api: APIClient, container: str, script: str, *arguments: str) -> str:
    """Run a script in a container that has no attached shell; return its stdout and stderr. APIError, ShellLostError.

    The script begins when it gets a line. Docker's client loses output that comes together with the answer's headers
    (docker-py #3332), and through a tunnel output often does.
    """
    begin = 'read -r _; exec </dev/null sh -c "$@"'
    made = api.exec_create(container, ["sh", "-c", begin, "sh", script, "probe", *arguments], stdin=True)
    stream = _Stream(api.exec_start(made["Id"], socket=True))
    try:
        stream.send(b"\n")
        return b"".join(iter(stream.frame, b"")).decode(errors="replace")
    except OSError as error:
        raise ShellLostError(f"a script in a container is lost: {error}") from error
    finally:
        stream.close()


class AttachedShell:
    """One attached shell. Attach it before the container is started: earlier output is lost."""

    def __init__(self, api: APIClient, container: str) -> None:
        """Attach to a container by name or ID. It runs `command`, with stdin open. APIError if Docker refuses."""
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._stream = _Stream(api.attach_socket(container, params=streams))
        self._lock = Lock()

    def run(self, script: str, *arguments: str) -> str:
        """Run a script with arguments; return its stdout and stderr. ShellLostError if the shell is gone."""
        mark = secrets.token_hex(8)
        order = f"(set -- {shlex.join(arguments)}\n{script}\n) </dev/null 2>&1\nprintf %s {mark}\n"
        said = b""
        with self._lock:
            try:
                self._stream.send(order.encode())
                while not said.endswith(mark.encode()):
                    if not (more := self._stream.frame()):
                        raise ConnectionError("the shell has ended")
                    said += more
            except OSError as error:
                raise ShellLostError(f"the shell in a container is lost: {error}") from error
        return said[: -len(mark)].decode(errors="replace")

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
