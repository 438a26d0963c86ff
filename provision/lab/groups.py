"""Control groups: each host has its own, so that all its processes can be found, and ended, together.

A machine has either one tree of groups (version 2) or a tree for each controller (version 1, perhaps with one
of version 2 beside them). A host gets a group of its own in every tree: in one shared with its neighbours,
the daemons of two hosts would meet in one and the same `docker.service`.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from provision.errors import Problem, StepFailed

ROOT = Path("/sys/fs/cgroup")
PATIENCE = 10.0
"""Seconds a killed process may take to go: it may be in the middle of a write to the disk."""


def is_unified() -> bool:
    """Whether this machine has one tree of groups, version 2."""
    return (ROOT / "cgroup.controllers").exists()


def make(name: str) -> tuple[Path, ...]:
    """Make the group in every tree, where it is missing, and return its folders."""
    folders = tuple(tree / name for tree in _trees())
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # Version 1 starts these empty, and then refuses every process.
            path = folder / setting
            if not is_unified() and path.exists() and not path.read_text().strip():
                path.write_text((folder.parent / setting).read_text())
    return folders


def processes(name: str) -> frozenset[int]:
    """Return every process of the group and of the groups in it."""
    return frozenset(
        pid for tree in _trees() for folder in _below(tree / name) for pid in _read(folder / "cgroup.procs")
    )


def first_process(name: str) -> int | None:
    """Return the host's process 1, as this machine numbers it; None while it has none."""
    for pid in processes(name):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # One number a level of nesting: a container on the host has three.
        if re.search(r"^NSpid:\t\d+\t1$", status, re.MULTILINE):
            return pid
    return None


def remove(name: str) -> None:
    """End every process of the group at once, and remove it and those in it. StepFailed if one does not go."""
    first = first_process(name)
    if first is not None:
        _kill(first)  # the kernel ends all others of the host with it
    deadline = time.monotonic() + PATIENCE
    while not _try_to_remove(name):
        left = processes(name)
        if time.monotonic() > deadline:
            what = f"process {min(left)} of {name} does not end" if left else f"the control group {name} stays busy"
            raise StepFailed(Problem(what, "this machine"))
        for pid in left:
            _kill(pid)
        time.sleep(0.01)


def _try_to_remove(name: str) -> bool:
    """Remove what is empty; return whether that is all. A process may still be on its way in, its starter killed."""
    try:
        for tree in _trees():
            for folder in reversed(list(_below(tree / name))):
                folder.rmdir()
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def names(prefix: str) -> frozenset[str]:
    """Return the groups that begin so."""
    return frozenset(folder.name for tree in _trees() for folder in tree.glob(f"{prefix}*"))


def _trees() -> tuple[Path, ...]:
    if is_unified():
        return (ROOT,)
    # The links are second names: cpu and cpuacct may be one tree.
    return tuple(path for path in sorted(ROOT.iterdir()) if path.is_dir() and not path.is_symlink())


def _below(folder: Path) -> Iterator[Path]:
    """Yield a folder and those in it, outer before inner; one that goes while we look is no error."""
    return (Path(path) for path, _, _ in os.walk(folder))


def _read(path: Path) -> Iterator[int]:
    try:
        yield from (int(pid) for pid in path.read_text().split())
    except OSError:  # the group went while we looked
        return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
