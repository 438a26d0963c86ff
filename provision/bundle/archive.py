"""Texts as one .tar.gz: without secrets, readable by its owner alone, written completely or not at all."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from provision.bundle.redaction import redacted

#: The number of bundles of failed runs that are kept beside the inventory: the latest ones.
KEPT = 5


def packed(top: str, texts: Mapping[str, str], known: Collection[str] = ()) -> bytes:
    """Return an archive of the texts, named by their path below `top`. Each text goes through `redacted`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        for name, text in texts.items():
            data = redacted(text, known).encode(errors="replace")
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write the archive to the path. OSError if that fails; an existing file is unchanged then."""
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
    """Return the folder for bundles of failed runs. If it is missing, make it, with access for its owner alone."""
    folder = cluster_folder / "bundles"
    for path in (cluster_folder.parent, cluster_folder, folder):
        path.mkdir(mode=0o700, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    return folder


def keep_latest(folder: Path) -> None:
    """Remove all but the latest bundles of a folder made by `make_folder`."""
    bundles = sorted(folder.glob("*.tar.gz"), key=lambda path: path.stat().st_mtime_ns)
    for path in bundles[:-KEPT]:
        path.unlink(missing_ok=True)
