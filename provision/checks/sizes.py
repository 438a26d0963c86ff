"""Sizes on disk."""

from __future__ import annotations

from pathlib import Path

MB = 1_000_000
#: An archive unpacked: etcd 3.5.30 goes from 20 to 47 MB. An image's layers grow no more.
UNPACKED = 3


def size_of(path: Path | None) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0
