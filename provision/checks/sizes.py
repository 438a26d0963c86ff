"""Sizes on disk."""

from __future__ import annotations

from pathlib import Path

MB = 1_000_000
#: How many times larger an archive is when it is unpacked: a release goes from 20 to 47 MB, an image grows no more.
UNPACKED = 3


def size_of(path: Path | None) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0
