"""What runs on a node: one library of POSIX sh, sent before every script."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def library(*more: str) -> str:
    """Return the shell functions that every script may call, and those of further files by name: `ports`."""
    return "".join((files(__name__) / f"{name}.sh").read_text() for name in ("library", *more))
