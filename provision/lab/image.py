"""Container images without a registry, written as the archives that `docker load` reads."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EPOCH = "1970-01-01T00:00:00Z"  # the same content gives the same image ID


@dataclass(frozen=True)
class Image:
    """What an image is called, with its tag, and what its containers run: by default, and in which folder."""

    name: str
    command: tuple[str, ...]
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    folder: str = "/"

    @property
    def short_name(self) -> str:
        """The name without its tag."""
        return self.name.partition(":")[0]


BUSYBOX = Image("busybox:latest", ("sh",), path="/bin")


def write(archive: Path, busybox: Path, applets: Sequence[str], architecture: str) -> None:
    """Write `busybox:latest`: the static binary, a link for every applet, and /tmp."""
    _write(archive, BUSYBOX, _layer(busybox.read_bytes(), applets), architecture)


def write_tree(archive: Path, image: Image, tree: Path, architecture: str) -> None:
    """Write an image that holds a folder's files; all of them root's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(tree, ".", filter=_of_root)
    _write(archive, image, buffer.getvalue(), architecture)


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    return entry


def _write(archive: Path, image: Image, layer: bytes, architecture: str) -> None:
    digest = hashlib.sha256(layer).hexdigest()
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": EPOCH,
            "config": {"Cmd": image.command, "Env": [f"PATH={image.path}"], "WorkingDir": image.folder},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": EPOCH, "created_by": image.short_name}],
        }
    )
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [image.name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add_file(tar, f"{digest}/layer.tar", layer)
        _add_file(tar, config_name, config)
        _add_file(tar, "manifest.json", _json(manifest))


def _layer(busybox: bytes, applets: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("tmp", 0o1777), ("etc", 0o755), ("root", 0o700)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        _add_file(tar, "bin/busybox", busybox, 0o755)
        for applet in applets:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
