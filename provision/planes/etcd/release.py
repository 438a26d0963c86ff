"""The etcd release on the controller: found, checked, and known by version, CPU and hash."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import tarfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from provision.core.plane import Window
from provision.errors import PreflightRefused, Problem
from provision.inventory.document import ETCD_RELEASE
from provision.inventory.model import Cluster, Etcd

BINARIES = ("etcd", "etcdctl")

#: Earlier ones can lose data (etcd advisories of March and September 2022); 3.6 has no v2 API.
VERSIONS = Window(lowest=((3, 4, 21), (3, 5, 5)), limit=(3, 6))

#: ELF e_machine of the CPUs that etcd is released for, as `uname -m` names them (elf.h).
_CPUS = {62: "x86_64", 183: "aarch64", 21: "ppc64le", 22: "s390x", 243: "riscv64"}
_TOP = re.compile(r"etcd-v(?P<version>\d+\.\d+\.\d+)[^/]*")


@dataclass(frozen=True)
class Artifact:
    """A release archive that can be pushed as it is. `top` is the folder inside that holds the binaries."""

    archive: str
    sha256: str
    top: str
    version: str
    cpu: str
    hashes: dict[str, str]

    @property
    def path(self) -> Path:
        """The archive on the controller."""
        return Path(self.archive)


#: In place of one that is not there or not as it should be, where other obstacles are looked for meanwhile.
UNKNOWN = Artifact("", "", "", "", "", dict.fromkeys(BINARIES, ""))


def load(cluster: Cluster) -> Artifact:
    """Find, check and describe what `etcd.source` names. PreflightRefused says what is wrong with it."""
    if cluster.etcd is None:
        what = "etcd: this key is missing: the control plane is etcd, and the nodes get a release of it"
        advice = f"add etcd: {{source: {ETCD_RELEASE}}}, a release archive (github.com/etcd-io/etcd/releases)"
        raise PreflightRefused(Problem(what, str(cluster.path), advice))
    source = _fetch(cluster.etcd) if cluster.etcd.source.startswith("https://") else Path(cluster.etcd.source)
    if source.is_dir():
        source = _pack(source)
    if not source.is_file():
        raise _refused(
            f"etcd.source {source} does not exist",
            f"put a release archive there (github.com/etcd-io/etcd/releases), or change etcd.source in {cluster.path}",
        )
    artifact = _described(source)
    if cluster.etcd.sha256 and artifact.sha256 != cluster.etcd.sha256.lower():
        raise _refused(
            f"{source} has sha256 {artifact.sha256}, the inventory says {cluster.etcd.sha256}",
            "download it again, or correct etcd.sha256 if you trust this file",
        )
    return artifact


def _described(archive: Path) -> Artifact:
    # Reading 40 MB of binaries takes half a second; what was read once is kept by size and time of change.
    status = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ino}".encode())
    memory = _cache() / f"{key.hexdigest()[:32]}.json"
    try:
        return Artifact(**json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        artifact = _read(archive)
    memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = memory.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(artifact)), encoding="utf-8")
    temporary.replace(memory)
    return artifact


def _read(archive: Path) -> Artifact:
    hashes, cpu, top = {}, "", ""
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream) as tar:
            for entry in tar:
                folder, _, name = entry.name.removeprefix("./").rpartition("/")
                if name not in BINARIES or not entry.isfile() or "/" in folder:
                    continue
                content = tar.extractfile(entry)
                data = content.read() if content else b""
                hashes[name], top = hashlib.sha256(data).hexdigest(), entry.name.rpartition("/")[0]
                cpu = _cpu(data)
            while stream.read(1 << 20):
                pass  # to gzip's own checksum, which comes last
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise _refused(f"{archive} is not a whole .tar.gz archive: {error}", "download it again") from None
    version = _TOP.fullmatch(top.removeprefix("./"))
    if set(hashes) != set(BINARIES) or not version:
        raise _refused(
            f"{archive} does not hold etcd-vVERSION-…/etcd and …/etcdctl",
            "use a release archive as etcd publishes them for Linux",
        )
    return Artifact(str(archive), _sha256(archive), top, version["version"], cpu, hashes)


def _cpu(binary: bytes) -> str:
    """Read the CPU from an ELF header, in the byte order that it names."""
    order: Literal["big", "little"] = "big" if binary[5:6] == b"\2" else "little"
    return _CPUS.get(int.from_bytes(binary[18:20], order), "unknown") if binary[:4] == b"\x7fELF" else "none"


def _pack(folder: Path) -> Path:
    """A folder becomes an archive in the cache, so that there is one way to push."""
    version = _TOP.fullmatch(folder.resolve().name)
    missing = [name for name in BINARIES if not (folder / name).is_file()]
    if missing or not version:
        raise _refused(
            f"the folder {folder} " + (f"lacks {' and '.join(missing)}" if missing else "does not name its version"),
            "use the folder etcd-vVERSION-linux-CPU as its release archive unpacks",
        )
    stamps = "".join(f"{(folder / name).stat().st_size} {(folder / name).stat().st_mtime_ns} " for name in BINARIES)
    key = hashlib.sha256(f"{folder.resolve()} {stamps}".encode()).hexdigest()[:16]
    archive = _cache() / f"{folder.resolve().name}-{key}.tar.gz"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = archive.with_suffix(f".{os.getpid()}")
        with tarfile.open(temporary, "w:gz", compresslevel=1) as tar:
            for name in BINARIES:
                tar.add(folder / name, f"{folder.resolve().name}/{name}")
        temporary.replace(archive)
    return archive


def _fetch(etcd: Etcd) -> Path:
    """Download once, by sha256: what is in the cache under that hash is that file."""
    import urllib3

    archive = _cache() / f"{etcd.sha256}.tar.gz"
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with urllib3.PoolManager(timeout=30, retries=3) as pool:
            response = pool.request("GET", etcd.source)
    except urllib3.exceptions.HTTPError as error:
        raise _refused(f"cannot download {etcd.source}: {error}", "check the URL, or use a local archive") from None
    digest = hashlib.sha256(response.data).hexdigest()
    if response.status != 200 or digest != (etcd.sha256 or "").lower():
        raise _refused(
            f"{etcd.source} answered {response.status} with sha256 {digest}, the inventory says {etcd.sha256}",
            "correct etcd.source or etcd.sha256",
        )
    temporary = archive.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(response.data)
    temporary.replace(archive)
    return archive


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "overlay-provision"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(what: str, advice: str) -> PreflightRefused:
    return PreflightRefused(Problem(what, where="controller", advice=advice))
