"""The shell functions that run on a node, in POSIX sh. `library.sh` is sent with every script, the others as needed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def library(*more: str) -> str:
    """Return the shell functions of `library.sh`, and those of further files, given by name without `.sh`."""
    return "".join((files(__name__) / f"{name}.sh").read_text() for name in ("library", *more))
