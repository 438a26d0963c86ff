"""Control groups: each host has its own, so that all its processes can be found and killed together.

A machine has either one tree of groups (version 2) or a tree for each controller (version 1, perhaps with one
of version 2 beside them). A host gets a group of its own in every tree: in a shared group, the daemons
of two hosts would be in the same `docker.service`.
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
"""Seconds a killed process may take to end: it may be in the middle of a write to the disk."""


def is_unified() -> bool:
    """Whether this machine has one tree of groups, version 2."""
    return (ROOT / "cgroup.controllers").exists()


def make(name: str) -> tuple[Path, ...]:
    """Make the group in every tree, where it is missing, and return its folders."""
    folders = tuple(tree / name for tree in _trees())
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # In version 1 these are empty at first, and the group then refuses every process.
            path = folder / setting
            if not is_unified() and path.exists() and not path.read_text(encoding="utf-8").strip():
                path.write_text((folder.parent / setting).read_text(encoding="utf-8"), encoding="utf-8")
    return folders


def processes(name: str) -> frozenset[int]:
    """Return the IDs of the processes in the group and its subgroups."""
    return frozenset(
        pid for tree in _trees() for folder in _below(tree / name) for pid in _read(folder / "cgroup.procs")
    )


def first_process(name: str) -> int | None:
    """Return this machine's ID of the host's process 1; None while the host has none."""
    for pid in processes(name):
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            continue
        # One number per level of nesting: a process of a container on the host has three.
        if re.search(r"^NSpid:\t\d+\t1$", status, re.MULTILINE):
            return pid
    return None


def remove(name: str) -> None:
    """Kill every process of the group, and remove the group and its subgroups. StepFailed if a process does not end."""
    first = first_process(name)
    if first is not None:
        _kill(first)  # the kernel kills all other processes of the host with it
    deadline = time.monotonic() + PATIENCE
    while not _try_to_remove(name):
        running = processes(name)
        if time.monotonic() > deadline:
            busy = f"the control group {name} stays busy"
            what = f"process {min(running)} of {name} does not end" if running else busy
            raise StepFailed(Problem(what, "this machine"))
        for pid in running:
            _kill(pid)
        time.sleep(0.01)


def _try_to_remove(name: str) -> bool:
    """Remove the groups. Return False if one is busy: a process may still be joining after its parent was killed."""
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
    """Return the groups whose names start with the prefix."""
    return frozenset(folder.name for tree in _trees() for folder in tree.glob(f"{prefix}*"))


def _trees() -> tuple[Path, ...]:
    if is_unified():
        return (ROOT,)
    # A link is another name of a tree: cpu and cpuacct may be the same.
    return tuple(path for path in sorted(ROOT.iterdir()) if path.is_dir() and not path.is_symlink())


def _below(folder: Path) -> Iterator[Path]:
    """Yield a folder and its subfolders, outer before inner. A folder that is removed meanwhile is no error."""
    return (Path(path) for path, _, _ in os.walk(folder))


def _read(path: Path) -> Iterator[int]:
    try:
        yield from (int(pid) for pid in path.read_text(encoding="utf-8").split())
    except OSError:  # the group was removed meanwhile
        return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
