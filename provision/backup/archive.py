"""The archive of a backup: packed as .tar.gz, and read without trusting it. Pure.

manifest.json    the format, the cluster, its control plane, the moment, versions, and each file's size and sha256
inventory.yml    as it is
networks.json    the networks that come back, as Docker's API tells them: see `Plane.saved_networks`
identity/…       the identity's folder
containers/NODE  a node's answer to what its containers should have (docker/containers.py)
All other files are the control plane's own: see `Coordinator.save`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

from provision.core.saved import Saved
from provision.docker import containers
from provision.errors import BackupError, Problem

#: The format that this program writes, and the only one that it reads.
FORMAT = 1
#: What the manifest says of itself.
KIND = "backup of overlay-provision"
MANIFEST, INVENTORY, NETWORKS = "manifest.json", "inventory.yml", "networks.json"
IDENTITY, CONTAINERS = "identity/", "containers/"
#: The most that is unpacked, in bytes. A backup of two nodes takes about 100 kB.
LIMIT = 2 << 30
#: Deflate, no flags, no time, the best compression, any system: an archive has no other header.
GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
NAME = re.compile(r"(?!(.*/)?\.\.?(/|$))[^/\\\x00-\x1f\x7f]+(/[^/\\\x00-\x1f\x7f]+)*")
ADVICE = "take another backup; nothing was changed"


def packed(saved: Saved, answers: Mapping[str, str]) -> bytes:
    """Return the archive. `answers`: what each node said of its containers, by the node's name."""
    files = {
        INVENTORY: saved.inventory,
        NETWORKS: json.dumps(saved.networks, indent=1).encode(),
        **{f"{IDENTITY}{name}": content for name, content in saved.identity.items()},
        **{f"{CONTAINERS}{name}": answer.encode() for name, answer in answers.items()},
        **saved.files,
    }
    manifest = {
        "kind": KIND,
        "format": FORMAT,
        "cluster": saved.cluster,
        "plane": saved.plane,
        "moment": saved.moment,
        "versions": dict(saved.versions),
        "missing": list(saved.missing),
        "files": {name: _told(content) for name, content in files.items()},
    }
    return _compressed(_tar({MANIFEST: json.dumps(manifest, indent=1).encode(), **files}))


def read(data: bytes) -> Saved:
    """Return what was saved. BackupError if the archive is damaged, or none that this program can read."""
    files = _untarred(_decompressed(data))
    manifest = _manifest(files.pop(MANIFEST, b""))
    _compare(manifest["files"], files)
    checksum = hashlib.sha256(data).hexdigest()
    try:
        return _saved(manifest, files, checksum)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _refused(f"its contents cannot be read: {type(error).__name__}: {error}") from error


def _saved(manifest: Mapping[str, Any], files: dict[str, bytes], checksum: str) -> Saved:
    inventory, networks = files.pop(INVENTORY), json.loads(files.pop(NETWORKS))
    answers = {name.removeprefix(CONTAINERS): files.pop(name).decode() for name in _below(files, CONTAINERS)}
    identity = {name.removeprefix(IDENTITY): files.pop(name) for name in _below(files, IDENTITY)}
    return Saved(
        plane=str(manifest["plane"]),
        cluster=str(manifest["cluster"]),
        moment=str(manifest["moment"]),
        versions={str(name): str(version) for name, version in manifest["versions"].items()},
        missing=tuple(map(str, manifest["missing"])),
        containers=tuple(one for node, answer in answers.items() for one in containers.read(node, answer)),
        networks=tuple({**one, "Name": str(one["Name"])} for one in networks),
        inventory=inventory,
        identity=identity,
        files=files,
        checksum=checksum,
    )


def _below(files: Mapping[str, bytes], folder: str) -> list[str]:
    return [name for name in files if name.startswith(folder)]


def _refused(what: str, advice: str = ADVICE) -> BackupError:
    return BackupError(Problem(f"the backup is damaged: {what}", "backup", advice))


def _told(content: bytes) -> dict[str, Any]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _manifest(text: bytes) -> Mapping[str, Any]:
    """Return the manifest. BackupError if it is none, or one of another format."""
    try:
        manifest = json.loads(text)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise BackupError(Problem("this archive is no backup of a cluster", "backup", "name a file of fab backup"))
    if manifest.get("format") != FORMAT:
        what = f"the backup has the format {manifest.get('format')}, and this program reads {FORMAT}"
        versions = manifest.get("versions")
        version = versions.get("overlay-provision", "that made it") if isinstance(versions, dict) else "that made it"
        raise BackupError(Problem(what, "backup", f"restore it with the version {version} of this program"))
    if not isinstance(manifest.get("files"), dict):
        raise _refused("the manifest names no files")
    return manifest


def _compare(listed: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Raise BackupError unless the archive has the files of the manifest, each as it was."""
    for name in sorted({*listed, *files}):
        if name not in files:
            raise _refused(f"{name} is missing")
        if name not in listed:
            raise _refused(f"{name} is not in the manifest")
        if listed[name] != _told(files[name]):
            raise _refused(f"{name} is not as it was")


def _tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"{name} is no name for a file of a backup")
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _untarred(tar: bytes) -> dict[str, bytes]:
    """Return the files. BackupError where one is no plain file, is there twice, or would leave its folder."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            for entry in archive:
                if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not NAME.fullmatch(entry.name):
                    raise _refused(f"{entry.name!r} is no plain file of a backup")
                if entry.name in files:
                    raise _refused(f"{entry.name} is there twice")
                content = archive.extractfile(entry)
                files[entry.name] = content.read() if content else b""
    except (tarfile.TarError, ValueError, OSError, EOFError) as error:
        raise _refused(f"it is no whole archive: {error}") from error
    return files


def _compressed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return GZIP + packer.compress(data) + packer.flush() + struct.pack("<LL", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def _decompressed(data: bytes) -> bytes:
    """Return what is inside. BackupError if it is cut, changed, too large, or nothing of ours."""
    if not data.startswith(GZIP):
        what = "this is no backup of a cluster" if data else "the backup is empty"
        encrypted = "decrypt it first: age -d -i KEY FILE.age | fab restore - --yes"
        raise BackupError(Problem(what, "backup", f"name a file of fab backup; if it is encrypted, {encrypted}"))
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        inside = unpacker.decompress(data, LIMIT)
    except zlib.error as error:
        raise _refused(f"it cannot be unpacked: {error}") from error
    if unpacker.unconsumed_tail:
        raise _refused(f"it would take more than {LIMIT >> 20} MB")
    if not unpacker.eof:
        raise _refused("its end is missing")
    if unpacker.unused_data:
        raise _refused("something follows after its end")
    return inside
