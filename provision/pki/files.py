"""Write files in the identity's folder: atomically, readable by the owner alone, by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath

from provision.errors import PreflightRefused, Problem

PARTIAL = ".new"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; create a missing folder. The lock ends with the process, so it cannot go stale."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create the identity's folder durably, closed to others and ignored by git. Its parent must exist."""
    folder.mkdir(mode=0o700, exist_ok=True)
    ignore = folder.parent / ".gitignore"
    if not ignore.exists():
        write(ignore, b"*\n", 0o644)
    sync_folder(folder.parent)


def refused(error: OSError, folder: Path) -> PreflightRefused:
    """Return the error for a folder that cannot be written."""
    advice = "this folder holds the cluster's keys, and must be writable by you"
    return PreflightRefused(Problem(f"cannot write: {error.strerror}", str(error.filename or folder), advice))


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file atomically. Nobody else can read the file before it has its mode, whatever the umask."""
    temporary = path.with_name(path.name + PARTIAL)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def put(folder: Path, there: Mapping[str, bytes]) -> None:
    """Write files of the identity's folder, durably, readable by their owner alone. PreflightRefused where that fails.

    `there`: their contents, by their paths in the folder.
    """
    try:
        with locked(folder.parent):
            make_folder(folder)
            for name, content in there.items():
                for parent in reversed(PurePath(name).parents[:-1]):
                    (folder / parent).mkdir(mode=0o700, exist_ok=True)
                write(folder / name, content, 0o600)
            for parent in {folder, *((folder / name).parent for name in there)}:
                sync_folder(parent)
    except OSError as error:
        raise refused(error, folder) from error


def remove(folder: Path, *names: str) -> None:
    """Remove files of the identity's folder, durably; those that are not there are no error. PreflightRefused."""
    try:
        found = [path for name in names if (path := folder / name).exists()]
        if not found:
            return
        with locked(folder.parent):
            for path in found:
                path.unlink(missing_ok=True)
            sync_folder(folder)
    except OSError as error:
        raise refused(error, folder) from error


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
