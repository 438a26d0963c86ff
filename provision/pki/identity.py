"""The identity's folder: what is in it, what it lacks, and how that is made."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from provision.errors import PreflightRefused, Problem
from provision.inventory.model import Cluster
from provision.pki import certificates
from provision.pki.certificates import LEAF_LIFETIME, RENEW_BEFORE, Signer
from provision.pki.leaves import Authority, Issued, Leaf, leaves

PARTIAL = ".new"


class Need(NamedTuple):
    """One thing that `make` would do: to what (`authority docker`, `leaf docker/controller`), and which."""

    what: str
    action: Literal["create", "renew", "tighten"]


@dataclass(frozen=True)
class Identity:
    """What the folder holds: a value, true when it was read."""

    folder: Path
    signers: Mapping[Authority, Signer]
    issued: Mapping[Leaf, Issued]
    needs: tuple[Need, ...]

    @classmethod
    def read(cls, cluster: Cluster, now: datetime | None = None) -> Identity:
        """Read the folder and judge it as of `now`. It writes nothing, and what is missing is no error.

        PreflightRefused when an authority is damaged.
        """
        moment = now or datetime.now(UTC)
        folder = cluster.folder
        signers = {name: signer for name in Authority if (signer := _read_signer(folder / name))}
        wanted = leaves(cluster)
        found = ((leaf, _read_leaf(folder, leaf, signers.get(leaf.authority), moment)) for leaf in wanted)
        issued = {leaf: one for leaf, one in found if one}
        unfit = [leaf for leaf in wanted if leaf not in issued]
        needs = (*_loose(folder), *_aging(signers, moment), *(_need(folder, leaf) for leaf in unfit))
        return cls(folder, signers, issued, needs)

    def get(self, leaf: Leaf) -> Issued | None:
        """Return the leaf; None when there is none, or one that is no longer fit."""
        return self.issued.get(leaf)

    def certificate(self, authority: Authority) -> bytes | None:
        """Return an authority's certificate; None where `make` would create or renew it."""
        if any(need.what == f"authority {authority}" for need in self.needs):
            return None
        return certificates.certificate_pem(self.signers[authority].certificate)

    def paths(self, leaf: Leaf) -> tuple[Path, Path]:
        """Return where a leaf's certificate and key are, for clients that read files."""
        return _files(self.folder, leaf)

    def authority_path(self, authority: Authority) -> Path:
        """Return where an authority's certificate is."""
        return self.folder / authority / "ca.crt"

    def missing(self) -> tuple[Need, ...]:
        """Return what `make` would do. Empty: nothing."""
        return self.needs

    def exists(self, authority: Authority) -> bool:
        """Say whether this controller holds the authority."""
        return authority in self.signers

    def fingerprint(self, authority: Authority) -> str | None:
        """Return the sha256, in hex, of the authority's certificate (DER); None without one."""
        from cryptography.hazmat.primitives.serialization import Encoding

        signer = self.signers.get(authority)
        return sha256(signer.certificate.public_bytes(Encoding.DER)).hexdigest() if signer else None

    def recognises(self, authority: Authority, pem: bytes) -> bool:
        """Say whether an authority's certificate found on a node is this one's, renewed or not."""
        signer = self.signers.get(authority)
        return signer is not None and certificates.is_signed_anew(signer.certificate, pem)


def make(cluster: Cluster, now: datetime | None = None) -> Identity:
    """Create what is missing, renew what is no longer fit, keep all else; return what is there then.

    One process at a time, by a lock. PreflightRefused when an authority is damaged, or the
    folder cannot be written.
    """
    moment = now or datetime.now(UTC)
    try:
        with _locked(cluster.folder.parent):
            _make_folders(cluster.folder)
            identity = Identity.read(cluster, moment)
            if identity.missing():
                _supply(cluster, identity, moment)
                identity = Identity.read(cluster, moment)
            return identity
    except OSError as error:
        advice = "it holds the cluster's keys, and must be writable by you"
        problem = Problem(f"cannot write: {error.strerror}", str(error.filename or cluster.folder), advice)
        raise PreflightRefused(problem) from error


def _files(folder: Path, leaf: Leaf) -> tuple[Path, Path]:
    base = folder / leaf.authority
    return base / f"{leaf.name}.crt", base / f"{leaf.name}.key"


def _read_signer(base: Path) -> Signer | None:
    """Return the authority kept in `base`; None when it has no certificate yet."""
    from cryptography import x509

    certificate_path, key_path = base / "ca.crt", base / "ca.key"
    try:
        if not certificate_path.exists():
            if key_path.exists():  # a run was killed between the two: this key will sign itself
                certificates.load_key(key_path.read_bytes())
            return None
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = certificates.load_key(key_path.read_bytes())
    except FileNotFoundError as error:
        raise _damaged(base, "the authority's key is gone") from error
    except OSError as error:
        raise _damaged(base, f"the authority cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(base, "the authority is damaged: a file in it is not what its name says") from error
    if certificate.public_key() != key.public_key():
        raise _damaged(base, "the authority is damaged: the key does not belong to the certificate")
    return Signer(certificate, key)


def _damaged(base: Path, what: str) -> PreflightRefused:
    advice = (
        "bring ca.crt and ca.key back from a copy, readable by you: a new authority would cut off every node "
        "that trusts this one. Only where no node does, delete the folder and run again."
    )
    return PreflightRefused(Problem(what, str(base), advice))


def _read_leaf(folder: Path, leaf: Leaf, signer: Signer | None, moment: datetime) -> Issued | None:
    if signer is None:
        return None
    try:
        certificate, key = (path.read_bytes() for path in _files(folder, leaf))
    except OSError:
        return None
    if not certificates.is_fit(leaf, certificate, key, signer, moment):
        return None
    return Issued(certificate, key, certificates.certificate_pem(signer.certificate))


def _need(folder: Path, leaf: Leaf) -> Need:
    return Need(f"leaf {leaf}", "renew" if _files(folder, leaf)[0].exists() else "create")


def _aging(signers: Mapping[Authority, Signer], moment: datetime) -> Iterator[Need]:
    """Yield each authority that is missing, or could no longer sign a leaf of full life."""
    for name in Authority:
        if name not in signers:
            yield Need(f"authority {name}", "create")
        elif signers[name].certificate.not_valid_after_utc < moment + LEAF_LIFETIME + RENEW_BEFORE:
            yield Need(f"authority {name}", "renew")


def _loose(folder: Path) -> Iterator[Need]:
    """Yield what others than its owner could open."""
    for path in (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*.key"))):
        if path.exists() and path.stat().st_mode & 0o077:
            yield Need(f"mode of {path.relative_to(folder.parent)}", "tighten")


def _make_folders(folder: Path) -> None:
    for path in (folder, *(folder / name for name in Authority)):
        path.mkdir(mode=0o700, exist_ok=True)
    ignore = folder.parent / ".gitignore"
    if not ignore.exists():
        _write(ignore, b"*\n", 0o644)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, made if need be. It ends with the process, so it cannot go stale."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _supply(cluster: Cluster, identity: Identity, moment: datetime) -> None:
    """Do all that the identity needs, under the lock."""
    folder = cluster.folder
    _tighten(folder)
    signers = dict(identity.signers)
    for need in _aging(identity.signers, moment):
        name = Authority(need.what.removeprefix("authority "))
        signers[name] = _make_authority(folder / name, cluster.name, moment)
    for leaf in leaves(cluster):
        if leaf not in identity.issued:
            certificate_path, key_path = _files(folder, leaf)
            key = certificates.new_key()
            certificate = certificates.sign_leaf(leaf, key, signers[leaf.authority], moment)
            # Killed between the two, the pair does not match and is made again.
            _write(key_path, certificates.key_pem(key), 0o400)
            _write(certificate_path, certificates.certificate_pem(certificate), 0o444)
    for name in Authority:
        _sync_folder(folder / name)


def _make_authority(base: Path, organization: str, moment: datetime) -> Signer:
    """Write an authority that signs itself: with the key it has, if it has one."""
    key_path = base / "ca.key"
    if key_path.exists():
        key = certificates.load_key(key_path.read_bytes())
    else:
        key = certificates.new_key()
        _write(key_path, certificates.key_pem(key), 0o400)
    certificate = certificates.sign_authority(organization, base.name, key, moment)
    _write(base / "ca.crt", certificates.certificate_pem(certificate), 0o444)
    return Signer(certificate, key)


def _tighten(folder: Path) -> None:
    """Close what is open to others, and remove what a killed run left half-written."""
    for path in (folder, *folder.glob("*/")):
        path.chmod(0o700)
    for path in folder.glob("*/*.key"):
        path.chmod(0o400)
    for path in folder.glob(f"*/*{PARTIAL}"):
        path.unlink()


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file as a whole. Nobody else can read it before it has its mode, whatever the umask."""
    temporary = path.with_name(path.name + PARTIAL)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
