"""Host keys: what known_hosts says about a key, and how a new one is written there. OpenSSH's file format."""

from __future__ import annotations

import fcntl
import hmac
import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha1, sha256
from pathlib import Path
from typing import Literal

SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")
Verdict = Literal["known", "unknown", "changed", "revoked"]


@dataclass(frozen=True)
class HostKey:
    """A public key as its type and its base64 text."""

    type: str
    text: str

    @property
    def fingerprint(self) -> str:
        """As `ssh` shows it: SHA256:…, without padding."""
        digest = sha256(b64decode(self.text)).digest()
        return "SHA256:" + b64encode(digest).decode().rstrip("=")

    @property
    def kind(self) -> str:
        """The name a person uses: ED25519, ECDSA, RSA."""
        return self.type.removeprefix("ssh-").split("-")[0].upper()

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What to negotiate so that the server shows this key."""
        return ("rsa-sha2-512", "rsa-sha2-256") if self.type == "ssh-rsa" else (self.type,)


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file."""

    path: Path
    line: int
    marker: str
    names: tuple[str, ...]
    key: HostKey

    def covers(self, name: str) -> bool:
        """Whether the line speaks of this host: plain, hashed, with wildcards, or excluded by `!`."""
        if any(pattern.startswith("!") and _matches(pattern[1:], name) for pattern in self.names):
            return False
        return any(_matches(pattern, name) for pattern in self.names)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        try:
            salt, digest = (b64decode(part) for part in pattern[3:].split("|"))
        except (ValueError, NotBase64):
            return False
        return hmac.compare_digest(hmac.new(salt, name.encode(), sha1).digest(), digest)
    # OpenSSH knows * and ? only: a bracket stands for itself.
    return fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def entries(path: Path, text: str) -> Iterator[Entry]:
    """Every line that can be understood; OpenSSH passes over the rest, too."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#"):
            continue
        names, kind, key = words[:3]
        try:
            b64decode(key, validate=True)
        except NotBase64:
            continue
        yield Entry(path, number, marker, tuple(names.split(",")), HostKey(kind, key))


def read(path: Path) -> tuple[Entry, ...]:
    """Every entry of the user's file and of the system's. A file that does not exist is empty."""
    return tuple(
        entry
        for file in (path, SYSTEM_FILE)
        if file.is_file()
        for entry in entries(file, file.read_text(errors="replace"))
    )


def judge(known: Iterable[Entry], name: str, key: HostKey) -> tuple[Verdict, Entry | None]:
    """What the entries say about the key shown by `name`, and the entry that says it.

    A host known by keys of other types only is called changed: those types were asked for first.
    """
    about = [entry for entry in known if entry.covers(name)]
    revoked = [entry for entry in about if entry.marker == "@revoked" and entry.key == key]
    if revoked:
        return "revoked", revoked[0]
    plain = [entry for entry in about if not entry.marker]
    same = [entry for entry in plain if entry.key == key]
    if same:
        return "known", same[0]
    if plain:
        return "changed", next((entry for entry in plain if entry.key.type == key.type), plain[0])
    return "unknown", None


def preferred(known: Iterable[Entry], name: str, algorithms: Iterable[str]) -> tuple[str, ...]:
    """The algorithms, those of keys known for `name` first, as OpenSSH orders them."""
    wanted = {
        algorithm for entry in known if not entry.marker and entry.covers(name) for algorithm in entry.key.algorithms
    }
    return tuple(sorted(algorithms, key=lambda algorithm: algorithm not in wanted))


def record(path: Path, name: str, key: HostKey) -> None:
    """Append the key: one write, so that no other writer's line is lost or broken. OSError if it cannot."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(path.parent):
        if judge(read(path), name, key)[0] == "known":
            return
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, f"{chr(10) if torn else ''}{name} {key.type} {key.text}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other threads and runs of ours away: a lock on the folder itself leaves no file behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
