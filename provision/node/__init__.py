"""The shell functions that run on a node, in POSIX sh. `library.sh` is sent with every script, the others as needed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def library(*more: str) -> str:
    """Return the shell functions of `library.sh`, and those of further files, given by name without `.sh`."""
    return "".join(map(functions, ("library", *more)))


@cache
def functions(name: str) -> str:
    """Return the shell functions of one file, given by its name without `.sh`, for a script that has the library."""
    return (files(__name__) / f"{name}.sh").read_text(encoding="utf-8")


def program(room: str, *names: str) -> bytes:
    """Return a program that stays on a node. `names`: its parts' files without `.sh`, in the package `room` or here."""
    places = files(room), files(__name__)
    parts = ([place / f"{name}.sh" for place in places] for name in names)
    return b"".join(next(part for part in there if part.is_file()).read_bytes() for there in parts)
