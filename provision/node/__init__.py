"""What runs on a node: one library of POSIX sh, sent before every script."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def library() -> str:
    """Return the shell functions that every script may call."""
    return (files(__name__) / "library.sh").read_text()
