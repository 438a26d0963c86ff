"""The etcd release on the controller: found or downloaded, checked, and known by version, CPU and hash."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from provision.errors import PreflightRefused, Problem
from provision.inventory import releases
from provision.inventory.document import ETCD_VERSION
from provision.inventory.model import Cluster, Etcd, EtcdRelease
from provision.inventory.releases import VERSIONS
from provision.planes.etcd import cache
from provision.planes.etcd.download import download

__all__ = ["BINARIES", "UNKNOWN", "VERSIONS", "Artifact", "archives", "load"]

BINARIES = ("etcd", "etcdctl")

#: ELF e_machine of the CPUs that etcd is released for, as `uname -m` names them (elf.h).
_CPUS = {62: "x86_64", 183: "aarch64", 21: "ppc64le", 22: "s390x", 243: "riscv64"}
_TOP = re.compile(r"etcd-v(?P<version>\d+\.\d+\.\d+)[^/]*")
_SAID = re.compile(r"^etcd Version: (?P<version>\d+\.\d+\.\d+)$", re.MULTILINE)
#: debug.BuildInfo of Go; etcd 3.5 has its version in this module.
_MODULE = re.compile(rb"\ndep\tgo\.etcd\.io/etcd/api/v3\tv(?P<version>\d+\.\d+\.\d+)[\t\n]")


@dataclass(frozen=True)
class Artifact:
    """A release archive that can be pushed as it is. `top` is the folder inside that holds the binaries."""

    archive: str
    sha256: str
    top: str
    version: str
    cpu: str
    hashes: dict[str, str]

    def __str__(self) -> str:
        """As a report names it."""
        if not self.archive:
            return f"etcd {self.version}"
        return f"{self.path.name}: etcd {self.version} for {self.cpu}, sha256 {self.sha256[:12]}…"

    @property
    def path(self) -> Path:
        """The archive on the controller."""
        return Path(self.archive)


#: In place of one that is not there or not as it should be, where other obstacles are looked for meanwhile.
UNKNOWN = Artifact("", "", "", "", "", dict.fromkeys(BINARIES, ""))


def load(cluster: Cluster) -> Artifact:
    """Find, check and describe what `etcd.source` names. PreflightRefused says what is wrong with it.

    Of a release that is named by its version, only that is known before the nodes' CPUs are: see `archives`.
    """
    match cluster.etcd:
        case None:
            what = "etcd: this key is missing: the control plane is etcd, and the nodes get a release of it"
            raise PreflightRefused(Problem(what, str(cluster.path), f"add etcd: {{version: {ETCD_VERSION}}}"))
        case EtcdRelease(version=version):
            return replace(UNKNOWN, version=version)
        case Etcd() as etcd:
            try:
                return _of_source(etcd, cluster.path)
            except OSError as error:
                what = f"etcd.source {etcd.source} cannot be read: {error.strerror or error}"
                raise _refused(what, f"see who may read it, and every folder above: namei -l {etcd.source}") from None


def _of_source(etcd: Etcd, inventory: Path) -> Artifact:
    source = _fetched(etcd) if etcd.source.startswith("https://") else Path(etcd.source)
    if source.is_dir():
        source = _pack(source)
    if not source.is_file():
        raise _refused(
            f"etcd.source {source} does not exist",
            f"write etcd: {{version: {ETCD_VERSION}}} in {inventory}, and the release is downloaded; or put a release "
            "archive there (github.com/etcd-io/etcd/releases)",
        )
    _open(source)
    artifact = _described(source)
    if etcd.sha256 and artifact.sha256 != etcd.sha256.lower():
        raise _refused(
            f"{source} has sha256 {artifact.sha256}, the inventory says {etcd.sha256}",
            "download it again, or correct etcd.sha256 if you trust this file",
        )
    return artifact


def _fetched(etcd: Etcd) -> Path:
    """Download once, by sha256: what is in the cache under that hash is that file."""
    sha256 = (etcd.sha256 or "").lower()
    archive = cache.folder() / f"{sha256}.tar.gz"
    if not archive.exists():
        advice = "correct etcd.source or etcd.sha256, or use a local archive"
        download(etcd.source, sha256, archive, lambda _: None, advice=advice)
    return archive


def archives(
    release: EtcdRelease, cpus: Mapping[str, Sequence[str]], say: Callable[[str], None]
) -> tuple[Mapping[str, Artifact], tuple[Problem, ...]]:
    """Return the release for each of these CPUs, from the cache or downloaded into it, and what is wrong.

    `cpus`: those of nodes, as `uname -m` says, each with the names of the nodes that have it. `say` gets the progress.
    """
    found: dict[str, Artifact] = {}
    problems: list[Problem] = []
    for cpu, nodes in cpus.items():
        try:
            found[cpu] = _for_cpu(release, cpu, nodes, say)
        except PreflightRefused as error:
            problems += error.problems
    return found, tuple(problems)


def _for_cpu(release: EtcdRelease, cpu: str, nodes: Sequence[str], say: Callable[[str], None]) -> Artifact:
    architecture = releases.ARCHITECTURES.get(cpu, cpu)
    sha256 = release.sha256.get(architecture)
    if not sha256:
        advice = (
            f"add etcd.sha256: {{{architecture}: 64 digits}}, from the release's file SHA256SUMS"
            if cpu in releases.ARCHITECTURES
            else "take the node out of the inventory: etcd is not released for its CPU"
        )
        what = f"this host is {cpu}, and no checksum of etcd {release.version} for {architecture} is known"
        raise PreflightRefused(Problem(what, ", ".join(nodes), advice))
    name = releases.archive(release.version, architecture)
    archive = cache.folder() / name
    kept = _kept(archive)
    if not kept or kept.sha256 != sha256:
        advice = (
            f"see whether etcd {release.version} is there, name another etcd.mirror, or put the archive at {archive}"
        )
        download(f"{release.mirror}/v{release.version}/{name}", sha256, archive, say, advice=advice)
        kept = _described(archive)
    if (kept.version, kept.cpu) != (release.version, cpu):
        what = f"{archive} holds etcd {kept.version} for {kept.cpu}, not {release.version} for {cpu}"
        raise _refused(what, "correct etcd.version or etcd.sha256 in the inventory")
    return kept


def _kept(archive: Path) -> Artifact | None:
    """Describe an archive in the cache; None if there is none, or a damaged one."""
    try:
        return _described(archive)
    except (OSError, PreflightRefused):
        return None


def _described(archive: Path) -> Artifact:
    # Reading 40 MB of binaries takes half a second; what was read once is kept by size and time of change.
    status = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ino}".encode())
    memory = cache.folder() / f"{key.hexdigest()[:32]}.json"
    try:
        return Artifact(**json.loads(memory.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        artifact = _read(archive)
    # Without it, the next run reads the archive again.
    with suppress(PreflightRefused), cache.new(memory) as file:
        file.write(json.dumps(asdict(artifact)).encode())
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
    if missing := [name for name in BINARIES if not (folder / name).is_file()]:
        advice = "name a folder that holds etcd and etcdctl, as a release archive unpacks"
        raise _refused(f"the folder {folder} lacks {' and '.join(missing)}", advice)
    for name in BINARIES:
        _open(folder / name)
    stamps = "".join(f"{(folder / name).stat().st_size} {(folder / name).stat().st_mtime_ns} " for name in BINARIES)
    key = hashlib.sha256(f"{folder.resolve()} {stamps}".encode()).hexdigest()[:16]
    if packed := next(cache.folder().glob(f"etcd-v*-{key}.tar.gz"), None):
        return packed
    top = f"etcd-v{_version(folder)}"
    archive = cache.folder() / f"{top}-{key}.tar.gz"
    with cache.new(archive) as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name in BINARIES:
            tar.add(folder / name, f"{top}/{name}")
    return archive


def _version(folder: Path) -> str:
    """Ask etcd for its version. If it does not run here, take the folder's name, or Go's record in the file."""
    version = _asked(folder / "etcd") or _named(folder) or _recorded(folder / "etcd")
    if not version:
        cpu = _cpu((folder / "etcd").read_bytes()[:64])
        what = f"the version of {folder}/etcd cannot be known: it does not run here (it is for {cpu})"
        raise _refused(what, "rename the folder to etcd-vVERSION, such as etcd-v3.5.30")
    return version


def _asked(program: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603  (the user's own file, which the nodes will run too)
            [program.absolute(), "--version"], capture_output=True, text=True, timeout=20, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _SAID.search(done.stdout)
    return found["version"] if found else ""


def _named(folder: Path) -> str:
    found = _TOP.fullmatch(folder.resolve().name)
    return found["version"] if found else ""


def _recorded(program: Path) -> str:
    """Read the version of the module that holds etcd's version: Go keeps a list of modules in what it builds."""
    found = _MODULE.search(program.read_bytes())
    return found["version"].decode() if found else ""


def _open(file: Path) -> None:
    """OSError if the file cannot be read."""
    with file.open("rb"):
        pass


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(what: str, advice: str) -> PreflightRefused:
    return PreflightRefused(Problem(what, where="controller", advice=advice))
