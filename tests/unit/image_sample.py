"""Archives of images, as `docker save` writes them, and files that are none."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

LAYER = "0/layer.tar"

Mode = Literal["w", "w:gz", "w:bz2", "w:xz"]
"""How an archive is packed."""


def write(path: Path, files: Mapping[str, bytes], mode: Mode = "w") -> Path:
    """Write a tar file."""
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def image(
    names: Sequence[str] | None = ("busybox:latest",), cpu: str = "amd64", system: str = "linux"
) -> dict[str, bytes]:
    """Return the files of an image's archive."""
    config = json.dumps({"architecture": cpu, "os": system}).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": names, "Layers": [LAYER]}]).encode()
    return {LAYER: b"layer", "c.json": config, "manifest.json": manifest}


def save(path: Path, size: int = 0) -> Path:
    """Write the archive of a busybox, of this size."""
    write(path, image())
    if size:
        with path.open("r+b") as file:
            file.truncate(size)
    return path
