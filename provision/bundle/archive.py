"""Texts as one .tar.gz: secrets taken out of every byte, for its owner alone, whole under its name or not there."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from provision.bundle.redaction import redacted

#: Bundles of failed runs that are kept beside the inventory, the latest.
KEPT = 5


def packed(top: str, texts: Mapping[str, str], known: Collection[str] = ()) -> bytes:
    """Return the archive of these texts by path below `top`. The one way into it, through `redacted`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        for name, text in texts.items():
            data = redacted(text, known).encode(errors="replace")
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def write(path: Path, data: bytes) -> None:
    """Put the archive in its place. OSError where that cannot be; what was there is as it was."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(cluster_folder: Path) -> Path:
    """Return the folder for bundles of failed runs, made where it is missing, for its owner alone."""
    folder = cluster_folder / "bundles"
    for path in (cluster_folder.parent, cluster_folder, folder):
        path.mkdir(mode=0o700, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder


def keep_latest(folder: Path) -> None:
    """Remove all but the latest bundles of a folder made by `make_folder`."""
    bundles = sorted(folder.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime_ns)
    for path in bundles[:-KEPT]:
        path.unlink(missing_ok=True)
