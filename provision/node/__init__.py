"""What runs on a node: POSIX sh. `library.sh` is sent before every script, the others with what needs them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

#: The parts of the program that mends what Docker gets wrong, in their order.
MEND = ("mend", "mend_rows", "mend_endpoints", "mend_threads", "mend_watch")


def program(*names: str) -> bytes:
    """Return a program that stays on a node, by the names of its parts: `docker_store`."""
    return b"".join((files(__name__) / f"{name}.sh").read_bytes() for name in names)


@cache
def library(*more: str) -> str:
    """Return the shell functions that every script may call, and those of further files by name: `facts`."""
    return "".join((files(__name__) / f"{name}.sh").read_text() for name in ("library", *more))
