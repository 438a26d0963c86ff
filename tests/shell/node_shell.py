"""Shells as nodes have them, which run the library in a folder of the test's own; as root, like all that runs there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from provision.node import library
from provision.planes.etcd.node import functions

#: Everything that is sent to a node, together.
FILES = ("facts", "record", "changes", "reset")
#: What the control plane adds to these.
PLANE = "\n".join(map(functions, ("facts", "changes", "reset")))
STRANGE = 'it\'s a "name" $(touch x)'
OTHER = "nobody:nogroup"
SHELLS = [
    pytest.param(
        command,
        marks=[
            pytest.mark.skipif(not shutil.which(command[0]), reason=f"needs {command[0]}"),
            pytest.mark.skipif(os.getuid() != 0, reason="needs root"),
        ],
        id=" ".join(command),
    )
    for command in (("dash",), ("busybox", "sh"))
]


@dataclass(frozen=True)
class Shell:
    """One shell and its folder; the record and the stamps are kept in `state` there."""

    command: tuple[str, ...]
    folder: Path

    def try_to(self, script: str, *before: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a script after the library; `before` are words before the shell's own command."""
        text = f"{library(*FILES)}\n{PLANE}\nstate={shlex.quote(str(self.folder / 'state'))}\n{script}\n"
        command = [*before, *self.command]
        return subprocess.run(command, input=text, cwd=self.folder, capture_output=True, text=True, check=False)

    def run(self, script: str) -> str:
        """Return what it says on standard output; it must have nothing to complain of."""
        done = self.try_to(script)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def call(self, *words: object, text: bytes = b"") -> str:
        """Run one call."""
        return self.run(calling(*words, text=text))

    def complaint(self, *words: object, text: bytes = b"") -> str:
        """Return what one call says when it ends the script, as it must."""
        done = self.try_to(f"{calling(*words, text=text)}\necho went on")
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr


def calling(*words: object, text: bytes = b"") -> str:
    """A call, quoted, with a text encoded on its standard input."""
    return f"{shlex.join(map(str, words))} <<'.'\n{b64encode(text).decode()}\n."


def hash_of(content: bytes) -> str:
    return sha256(content).hexdigest()


def seen(path: Path) -> tuple[bytes, int, str]:
    """Content or target, mode, and owner of a path itself."""
    content = bytes(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
    status = path.lstat()
    owner = "root:root" if (status.st_uid, status.st_gid) == (0, 0) else f"{path.owner()}:{path.group()}"
    return content, status.st_mode & 0o7777, owner


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden too, beside the library's own state."""
    return sorted(path.name for path in folder.iterdir() if path.name != "state")
