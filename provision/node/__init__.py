"""What runs on a node: POSIX sh. `library.sh` is sent before every script, the others with what needs them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def library(*more: str) -> str:
    """Return the shell functions that every script may call, and those of further files by name: `facts`."""
    return "".join((files(__name__) / f"{name}.sh").read_text() for name in ("library", *more))
