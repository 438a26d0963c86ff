"""Host keys: look up a key in known_hosts, and record a new key. The file format is OpenSSH's."""

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
        """The fingerprint as `ssh` shows it: SHA256:…, without padding."""
        digest = sha256(b64decode(self.text)).digest()
        return "SHA256:" + b64encode(digest).decode().rstrip("=")

    @property
    def kind(self) -> str:
        """The short name of the key type: ED25519, ECDSA, RSA."""
        return self.type.removeprefix("ssh-").split("-")[0].upper()

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms to negotiate so that the server presents this key."""
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
        """Whether the line applies to this host. Names may be plain, hashed, with wildcards, or excluded by `!`."""
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
    # OpenSSH has only the wildcards * and ?: a bracket is an ordinary character.
    return fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def entries(path: Path, text: str) -> Iterator[Entry]:
    """Yield every line that can be parsed. The other lines are skipped, as OpenSSH does."""
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
    """Return every entry of the user's file and of the system's. A missing file has no entries."""
    return tuple(
        entry
        for file in (path, SYSTEM_FILE)
        if file.is_file()
        for entry in entries(file, file.read_text(encoding="utf-8", errors="replace"))
    )


def judge(known: Iterable[Entry], name: str, key: HostKey) -> tuple[Verdict, Entry | None]:
    """Return the verdict on the key that `name` presents, and the entry that decides it.

    A host that is known only by keys of other types counts as changed: those types were negotiated first.
    """
    covering = [entry for entry in known if entry.covers(name)]
    revoked = [entry for entry in covering if entry.marker == "@revoked" and entry.key == key]
    if revoked:
        return "revoked", revoked[0]
    plain = [entry for entry in covering if not entry.marker]
    same = [entry for entry in plain if entry.key == key]
    if same:
        return "known", same[0]
    if plain:
        return "changed", next((entry for entry in plain if entry.key.type == key.type), plain[0])
    return "unknown", None


def preferred(known: Iterable[Entry], name: str, algorithms: Iterable[str]) -> tuple[str, ...]:
    """Return the algorithms, those of the keys known for `name` first, as OpenSSH orders them."""
    wanted = {
        algorithm for entry in known if not entry.marker and entry.covers(name) for algorithm in entry.key.algorithms
    }
    return tuple(sorted(algorithms, key=lambda algorithm: algorithm not in wanted))


def record(path: Path, name: str, key: HostKey) -> None:
    """Append the key in one write, so that no other writer's line is lost or broken. OSError if that fails."""
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
    """Hold a lock against other threads and runs. A lock on the folder itself leaves no lock file behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
