"""Where an archive is written to and read from: a file, or a standard stream (`-`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from provision.backup.archive import LIMIT
from provision.bundle import archive as files
from provision.errors import Problem, StepFailed, UsageError
from provision.pki.files import sync_folder

#: Standard output, or standard input.
STREAM = "-"


def checked(file: str, stream: BinaryIO | None) -> Path | BinaryIO:
    """Return where the archive is written to. UsageError if it cannot be written there.

    `stream`: standard output, if the archive goes there.
    """
    if stream:
        if stream.isatty():
            advice = "fab backup FILE; or pipe it on: fab backup - | age -r KEY > FILE.age"
            raise UsageError(Problem("a backup is not written to a terminal", "backup -", advice))
        return stream
    path = Path(file)
    if path.exists() and not path.is_file():
        what = "there is something else than a file at this place"
        raise UsageError(Problem(what, f"backup {file}", "name another file; - is standard output"))
    if not path.parent.is_dir():
        raise UsageError(Problem(f"there is no folder {path.parent}", f"backup {file}", f"mkdir -p {path.parent}"))
    if not os.access(path.parent, os.W_OK):
        raise UsageError(Problem("cannot be written there", f"backup {file}", "name a file in another folder"))
    return path


def write(where: Path | BinaryIO, data: bytes) -> None:
    """Write the archive durably, readable by its owner alone, completely or not at all. StepFailed if that fails."""
    try:
        if isinstance(where, Path):
            files.write(where, data)
        else:
            with where:
                where.write(data)
    except OSError as error:
        what = f"the backup cannot be written: {error.strerror or error}"
        kept = "make room there, or name another file; an earlier backup of this name is as it was"
        cut = "what has been read from there is no whole backup: throw it away"
        advice = kept if isinstance(where, Path) else cut
        raise StepFailed(Problem(what, str(where) if isinstance(where, Path) else "standard output", advice)) from error
    if isinstance(where, Path):
        _lasting(where)


def _lasting(path: Path) -> None:
    """Let the file's name survive a power failure. StepFailed if that fails."""
    try:
        sync_folder(path.parent)
    except OSError as error:
        what = f"the backup is written, but may not survive a power failure: {error.strerror or error}"
        raise StepFailed(Problem(what, str(path), "mend this disk, or name a file on another one")) from error


def read(file: str) -> bytes:
    """Return the contents of the file, or of standard input. UsageError if that cannot be read, or is no archive."""
    try:
        if file == STREAM:
            return _bounded(sys.stdin.buffer)
        with Path(file).open("rb") as stream:
            return _bounded(stream)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise UsageError(Problem(what, f"restore {file}", "name a readable file")) from error


def _bounded(stream: BinaryIO) -> bytes:
    data = stream.read(LIMIT)
    if len(data) == LIMIT:
        raise UsageError(Problem(f"has more than {LIMIT >> 20} MB", "restore", "name a file of fab backup"))
    return data
