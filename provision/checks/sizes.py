"""Sizes of files on the controller's disk, and of what they become on a node."""

from __future__ import annotations

from pathlib import Path

MB = 1_000_000
#: The growth of an archive when it is unpacked: a release grows from 20 to 47 MB, and an image by no more than that.
UNPACKED = 3


def size_of(path: Path | None) -> int:
    """Return the size of a file in bytes; 0 if there is no such file."""
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0
