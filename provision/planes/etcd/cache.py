"""The folder of this program on the controller for what can be made or downloaded again."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from provision.errors import PreflightRefused, Problem

_ABANDONED_SECONDS = 3600
"""A part that was not written to for so long is a killed run's: a download writes every few seconds, or fails."""


def folder() -> Path:
    """Return the folder, which may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "overlay-provision"


@contextmanager
def new(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write, which takes the place of `path` if the block ends, and is removed if it fails.

    PreflightRefused if the disk is full, or the folder takes no file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_abandoned(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            try:
                yield part
                part.flush()
                Path(part.name).replace(path)
            except BaseException:
                with suppress(OSError):
                    Path(part.name).unlink()
                raise
    except OSError as error:
        what = f"cannot write {path}: {error.strerror or error}"
        advice = "make room there, or name another folder for the cache: XDG_CACHE_HOME=/FOLDER fab …"
        raise PreflightRefused(Problem(what, "controller", advice)) from None


def _remove_abandoned(parent: Path) -> None:
    for part in parent.glob("*.part"):
        with suppress(OSError):
            if part.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                part.unlink()
