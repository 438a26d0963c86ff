"""An image's archive on the controller, as `docker save` writes it: what is in it, before it is sent to a node."""

from __future__ import annotations

import json
import lzma
import tarfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from posixpath import normpath
from typing import Any

from provision.errors import Problem

#: The machines, as `uname -m` names them, that run an image for a CPU as Docker names it.
_MACHINES = {
    "amd64": ("x86_64",),
    "386": ("i386", "i486", "i586", "i686", "x86_64"),
    "arm64": ("aarch64",),
    "arm": ("armv6l", "armv7l", "armv8l", "aarch64"),
    "ppc64le": ("ppc64le",),
    "s390x": ("s390x",),
    "riscv64": ("riscv64",),
}
#: The first bytes of a file that is compressed by zstd, which Docker reads and Python does not.
_ZSTD = b"\x28\xb5\x2f\xfd"
#: Folders at the top of a container's file system.
_OF_A_SYSTEM = {"bin", "etc"}


@dataclass(frozen=True)
class Archive:
    """The CPU and the system of each image in an archive, by the image's names."""

    images: dict[str, tuple[str, str]]


def normal(name: str) -> str:
    """Return an image's name as Docker shows it: without the default registry, and with a tag."""
    for registry in ("docker.io/", "index.docker.io/"):
        name = name.removeprefix(registry)
    name = name.removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def complaint(path: Path, image: str, machine: str = "") -> Problem | None:
    """Say why Docker would not get this image from an archive; None if it would, or if that cannot be known here.

    `machine`: what `uname -m` prints on the node; empty to leave that out.
    """
    advice = f"on a machine that has the image: docker save {image} -o {path.name}; then put that file there"
    try:
        status = path.stat()
        archive = _read(path, status.st_mtime_ns, status.st_size)
    except _Unusable as error:
        return Problem(f"{path} {error}", "controller", advice)
    except FileNotFoundError:
        return Problem(f"{path} does not exist: the image {image} comes from it", "controller", advice)
    except OSError as error:
        return Problem(f"{path} cannot be read: {error.strerror}", "controller", advice)
    return None if archive is None else _of_image(archive, path, image, machine)


def _of_image(archive: Archive, path: Path, image: str, machine: str) -> Problem | None:
    if normal(image) not in archive.images:
        names = ", ".join(sorted(archive.images)) or "an image without a name"
        other = f", or write image: {min(archive.images)} in the inventory" if archive.images else ""
        return Problem(
            f"{path} holds {names}, not {normal(image)}",
            "controller",
            f"docker save {image} -o {path.name} saves it by its name{other}",
        )
    cpu, system = archive.images[normal(image)]
    if system not in ("", "linux"):
        return Problem(f"{path} holds {image} for {system}, not for Linux", "controller", "use an image for Linux")
    if machine and cpu in _MACHINES and machine not in _MACHINES[cpu]:
        ours = next((name for name, machines in _MACHINES.items() if machine in machines), machine)
        return Problem(
            f"this host is {machine}, but {path} holds {image} for {cpu}",
            "",
            f"docker pull --platform linux/{ours} {image} && docker save {image} -o {path.name}",
        )
    return None


class _Unusable(Exception):
    """Docker cannot load the archive; the text says why, after the archive's path."""


@cache
def _read(path: Path, changed: int, size: int) -> Archive | None:  # noqa: ARG001 (a file that is another one)
    """Return what is in an archive; None if it is compressed in a way that is not read here. _Unusable, OSError."""
    if path.is_dir():
        raise _Unusable("is a folder, and has to be an image's archive")
    with path.open("rb") as file:
        if file.read(len(_ZSTD)) == _ZSTD:
            return None
    try:
        with tarfile.open(path) as tar:
            return _described(tar)
    except tarfile.ReadError as error:
        cut = "unexpected end" in str(error)
        raise _Unusable(
            "is cut off: it ends too early" if cut else "is no archive of an image, and no tar file"
        ) from None
    except (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError) as error:
        raise _Unusable(f"is damaged: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _Unusable("is damaged: what its manifest.json names is not in it") from None


def _described(tar: tarfile.TarFile) -> Archive:
    members = {normpath(member.name): member for member in tar}
    if "manifest.json" not in members:
        if members.keys() | {name.partition("/")[0] for name in members} >= _OF_A_SYSTEM:
            raise _Unusable("holds the files of a container (docker export), not an image")
        if "index.json" in members:
            raise _Unusable("holds an image in the format of OCI alone, which docker load does not take")
        raise _Unusable("holds no image: it has no manifest.json")

    def content(name: str) -> Any:
        file = tar.extractfile(members[normpath(name)])
        return json.load(file) if file else None

    images = {}
    for entry in content("manifest.json"):
        config = content(entry["Config"])
        if missing := [layer for layer in entry["Layers"] if normpath(layer) not in members]:
            raise _Unusable(f"is not whole: it lacks the layer {missing[0]}")
        described = (str(config.get("architecture", "")), str(config.get("os", "")))
        images.update(dict.fromkeys(map(normal, entry.get("RepoTags") or ()), described))
    return Archive(images)
