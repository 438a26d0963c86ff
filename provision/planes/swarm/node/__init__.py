"""The shell code of this plane, in POSIX sh: the program that stays on each node."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from provision import node

#: The parts, in their order, of the program that makes dockerd's configuration.
DOCKER_CONFIG = ("docker_config", "docker_config_main")
#: The parts, in their order, of the program that records what containers should have, starts what could not start, sees
#: gossip without peers, ends connections in which messages wait, and leaves a swarm that has struck the host off.
MEND = (
    "mend",
    "library",
    "containers",
    "former_swarm",
    "mend_address",
    "start_errors",
    "mend_start",
    "mend_peers",
    "connections",
    "mend_removed",
    "mend_before_start",
    "mend_watch",
)


def program(*names: str) -> bytes:
    """Return a program that stays on a node. `names`: the files of its parts, without `.sh`."""
    return node.program(__name__, *names)


@cache
def functions(name: str) -> str:
    """Return the shell functions in a file, given by its name without `.sh`."""
    return (files(__name__) / f"{name}.sh").read_text(encoding="utf-8")
