"""Search for secrets where they could be seen: in arguments and environments of processes, and in files."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
#: From linux/netlink.h, linux/connector.h and linux/cn_proc.h: the kernel's messages about processes.
CONNECTOR, PROCESSES, LISTEN, PROGRAM_STARTED = 11, (1, 1), 1, 2
WHAT, WHO = struct.Struct("=36xI"), struct.Struct("=52xI")
#: Seconds between two looks at all processes: a process may change its own arguments.
ROUND = 2.0


class Watch:
    """Collects the arguments and environments of all processes: of the controller, the hosts and the containers.

    The kernel sends a message for every program that starts. A process that ends before it is read is missed.
    """

    def __init__(self) -> None:
        self.given: set[bytes] = set()
        self.started = self.missed = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, CONNECTOR)

    def __enter__(self) -> Self:
        self._kernel.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE: the kernel does not wait for us
        self._kernel.bind((0, PROCESSES[0]))
        message = struct.pack("=IIIIHHI", *PROCESSES, 0, 0, 4, 0, LISTEN)
        self._kernel.send(struct.pack("=IHHII", 16 + len(message), 3, 0, 0, 0) + message)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._kernel.close()

    def has(self, word: str) -> bool:
        return any(word.encode() in given for given in tuple(self.given))

    def _work(self) -> None:
        next_round = 0.0
        while not self._ended.is_set():
            if time.monotonic() > next_round:
                for path in Path("/proc").glob("[0-9]*"):
                    self._look(path.name)
                next_round = time.monotonic() + ROUND
            if not select.select([self._kernel], [], [], 0.1)[0]:
                continue
            event = self._kernel.recv(4096)
            if WHAT.unpack_from(event)[0] == PROGRAM_STARTED:
                self.started += 1
                self.missed += not self._look(WHO.unpack_from(event)[0])

    def _look(self, process: str | int) -> bool:
        """Read a process's arguments and environment. Return whether it still existed."""
        try:
            arguments = Path(f"/proc/{process}/cmdline").read_bytes()
            self.given |= {arguments, Path(f"/proc/{process}/environ").read_bytes()}
        except OSError:
            return False
        return arguments != b""


def forms(word: bytes) -> set[bytes]:
    """Return a word, and the part of its base64 form that is the same at every position in a text."""
    found = {word}
    for before in range(3):
        encoded = b64encode(bytes(before) + word)
        found.add(encoded[-(-before * 8 // 6) : (before + len(word)) * 8 // 6])
    return found


def words_of(key: bytes) -> tuple[bytes, bytes]:
    """Return the secret part of a private key on P-256 (PKCS #8, PEM): the other parts are constant or public."""
    first, second = key.split(b"\n")[1:3]
    return first[48:], second[:24]


@dataclass(frozen=True)
class Seen:
    """A secret, by its name, that was found in a file."""

    secret: str
    path: str


@dataclass(frozen=True)
class Search:
    """Searches files for secrets. The secrets are in a file of their own, because no argument list may contain them."""

    names: Mapping[bytes, str]
    file: Path

    @classmethod
    def of(cls, secrets: Mapping[str, Iterable[bytes]], file: Path) -> Search:
        names = {form: name for name, words in secrets.items() for word in words for form in forms(word)}
        file.write_bytes(b"\n".join(names))
        return cls(names, file)

    def below(self, root: Path, *folders: str) -> set[Seen]:
        """Return what is found in files below the folders of a root, without layers of images and containers."""
        there = [folder for folder in folders or (".",) if (root / folder).is_dir()]
        words = ("grep", "--recursive", "--text", "--only-matching", "--with-filename", "--null", "--fixed-strings")
        left_out = ("--devices=skip", "--exclude-dir=overlay2", "--exclude-dir=rootfs", f"--file={self.file}")
        done = subprocess.run((*words, *left_out, *there), cwd=root, capture_output=True, check=False)
        lines = (line.split(b"\0", 1) for line in done.stdout.splitlines())
        return {Seen(self.names[form], path.decode().removeprefix("./")) for path, form in lines}


def typed(password: str, command: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command, and type a password when it asks for one. Return its exit code. Its output: `out`, `err`."""
    screen, theirs = os.openpty()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        words = ("setsid", "--ctty", "--wait", *command)
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdin=theirs, stdout=out, stderr=err)
    os.close(theirs)
    asked = b""
    with os.fdopen(screen, "rb+", buffering=0) as terminal:
        with suppress(OSError):  # the command ended without asking
            while b"assword" not in asked:
                asked += terminal.read(1024)
            terminal.write(password.encode() + b"\n")
        return process.wait(timeout=600)
