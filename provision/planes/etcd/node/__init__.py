"""The shell code of this plane, in POSIX sh: functions for scripts, and programs that stay on a node."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from provision import node
from provision.node import library

#: The parts, in their order, of the program that connects dockerd to the store, and of the one that mends its errors.
DOCKER_STORE = ("docker_store", "library", "docker_config", "store", "docker_store_join", "docker_store_start")
MEND = (
    "mend",
    "library",
    "store",
    "containers",
    "mend_rows",
    "mend_endpoints",
    "mend_names",
    "mend_threads",
    "connections",
    "mend_connections",
    "mend_watch",
)


def program(*names: str) -> bytes:
    """Return a program that stays on a node. `names`: the files of its parts, without `.sh`."""
    return node.program(__name__, *names)


@cache
def functions(name: str) -> str:
    """Return the shell functions in a file, given by its name without `.sh`."""
    return (files(__name__) / f"{name}.sh").read_text(encoding="utf-8")


def follow_up(*calls: str) -> str:
    """Return a script that asks a node a second time, by these calls of shell functions."""
    return "\n".join((library("facts"), *map(functions, ("facts", "mend", "store", "strangers")), *calls, ""))
