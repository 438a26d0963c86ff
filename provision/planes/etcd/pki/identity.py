"""The identity's folder as a value: what it contains, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provision.errors import PreflightRefused, Problem
from provision.inventory.model import Cluster, Node
from provision.pki import certificates
from provision.pki.certificates import LEAF_LIFETIME, RENEW_BEFORE, Signer
from provision.pki.leaf import Issued, Leaf
from provision.planes.etcd.pki import pins, rotation
from provision.planes.etcd.pki.leaves import CONTROLLER_DOCKER, CONTROLLER_STORE, Authority, leaves, store_leaf
from provision.planes.etcd.pki.pins import Pins
from provision.planes.etcd.pki.rotation import RotationTarget, Step

if TYPE_CHECKING:
    from cryptography import x509


class Need(NamedTuple):
    """One thing that `make` would do. `what`: its object, such as `authority docker` or `leaf docker/controller`.

    `action`: `create`, `renew`, `tighten`, `pin`, or the step of a rotation.
    """

    what: str
    action: str


class Kept(NamedTuple):
    """A certificate in the folder: whose it is, its path, and the end of its validity."""

    what: str
    path: Path
    end: datetime


@dataclass(frozen=True)
class Identity:
    """The contents of the folder at the moment when it was read. `step`: a rotation's step; None outside a rotation."""

    folder: Path
    moment: datetime
    target: RotationTarget
    step: Step | None
    signers: Mapping[str, Signer]
    authorities: Mapping[str, tuple[x509.Certificate, ...]]
    issued: Mapping[Leaf, Issued]
    kept: tuple[Kept, ...]
    needs: tuple[Need, ...]
    #: The controller's leaves that the daemons accept now, those that are about to be renewed included.
    accepted: frozenset[Leaf] = frozenset()
    #: The leaves that etcd accepts one by one, after a recovery; and who signs those of its new clients.
    pinned: Pins | None = None
    client_signer: Signer | None = None

    @classmethod
    def read(cls, cluster: Cluster, now: datetime | None = None, target: RotationTarget | None = None) -> Identity:
        """Read the folder, and compare it with `target` at the time `now`. Write nothing.

        By default `target` is the step that the folder is in. Missing files are no error. PreflightRefused if an
        authority is damaged.
        """
        moment, target, folder = now or datetime.now(UTC), target or RotationTarget(), cluster.folder
        step = target.step or rotation.recorded(folder)
        signers: dict[str, Signer] = {
            name: signer for name in Authority if (signer := _read_signer(folder / name, step))
        }
        pinned = pins.read(folder) if step in (Step.TRUST, Step.LEAVES) else None
        clients = _read_signer(folder / Authority.CLIENT, Step.LEAVES) if pinned else None
        wanted = leaves(cluster)
        reading = _Reading(folder, signers, moment, target, pinned if step is Step.TRUST else None, clients)
        found = ((leaf, reading.leaf(leaf)) for leaf in wanted)
        issued = {leaf: one for leaf, one in found if one}
        unfit = [leaf for leaf in wanted if leaf not in issued and can_sign(signers.get(leaf.authority))]
        turning = rotation.is_pending(folder, tuple(Authority), step)
        needs = (
            *_loose(folder),
            *aging(signers, moment, step),
            *(Need(f"authority {name}", step) for name in Authority if turning and step),
            *(_need(folder, leaf) for leaf in unfit),
            *(Need(f"leaf {leaf}", "pin") for leaf in reading.unpinned(cluster, issued)),
        )
        authorities = {str(name): _read_trusted(folder / name, step) for name in Authority}
        own = (CONTROLLER_STORE, CONTROLLER_DOCKER)
        accepted = frozenset(leaf for leaf in own if _is_accepted(folder, leaf, authorities[leaf.authority], moment))
        kept = tuple(_kept(folder, wanted, step))
        return cls(folder, moment, target, step, signers, authorities, issued, kept, needs, accepted, pinned, clients)

    def get(self, leaf: Leaf) -> Issued | None:
        """Return an issued leaf; None if it is missing or no longer fit."""
        return self.issued.get(leaf)

    def will_hold(self, leaf: Leaf) -> bool:
        """Return whether the leaf exists after `make`. An authority without a key here cannot sign a missing leaf."""
        return leaf in self.issued or can_sign(self.signers.get(leaf.authority))

    def certificate(self, authority: str) -> bytes | None:
        """Return the certificate of the authority that signs; None if `make` would create or renew it."""
        if any(Need(f"authority {authority}", action) in self.needs for action in ("create", "renew")):
            return None
        return certificates.certificate_pem(self.signers[authority].certificate)

    def trusted(self, authority: str) -> bytes | None:
        """Return all certificates of the authority that are trusted now; None if `make` would create one of them."""
        found = self.authorities[authority]
        if self.certificate(authority) is None or len(found) < len(rotation.trusted(self.folder, self.step)):
            return None
        return b"".join(map(certificates.certificate_pem, found))

    def trusted_clients(self, node: Node) -> bytes | None:
        """Return what a member trusts of clients: after a recovery, pinned leaves in place of the old authority."""
        trusted = self.trusted(Authority.CLIENT)
        if self.pinned is None or trusted is None:
            return trusted
        accepted = self.pinned.of(node)
        new = certificates.certificate_pem(self.authorities[Authority.CLIENT][-1])
        return None if accepted is None else b"".join((new, *accepted))

    def signer(self, leaf: Leaf) -> Signer | None:
        """Return who signs a leaf: after a recovery, the new authority those of the store's clients."""
        return self.client_signer if _is_of_client(leaf) and self.client_signer else self.signers.get(leaf.authority)

    def paths(self, leaf: Leaf) -> tuple[Path, Path]:
        """Return the paths of a leaf's certificate and key, for clients that read files."""
        return files_of(self.folder, leaf)

    def authority_path(self, authority: str) -> Path:
        """Return the path of the authority's trusted certificates, for clients that read files."""
        found = rotation.trusted(self.folder / authority, self.step)
        return found[0] if len(found) == 1 else self.folder / authority / rotation.BOTH

    def missing(self) -> tuple[Need, ...]:
        """Return what `make` would do; empty if it would do nothing."""
        return self.needs

    def exists(self, authority: str) -> bool:
        """Return whether this controller has the authority."""
        return authority in self.signers

    def fingerprint(self, authority: str) -> str | None:
        """Return the sha256, in hex, of the authority's certificate (DER); None if it has none."""
        from cryptography.hazmat.primitives.serialization import Encoding

        signer = self.signers.get(authority)
        return sha256(signer.certificate.public_bytes(Encoding.DER)).hexdigest() if signer else None

    def recognises(self, authority: str, pem: bytes, *, valid: bool = False) -> bool:
        """Return whether one of these certificates is the authority's, or a renewed or older one with the same key.

        `valid`: it must not have ended.
        """
        keys = {certificates.key_of(one) for one in self.authorities[authority]}
        return any(
            certificates.key_of(one) in keys and not (valid and one.not_valid_after_utc <= self.moment)
            for one in certificates.load_all(pem)
        )


def files_of(folder: Path, leaf: Leaf) -> tuple[Path, Path]:
    """Return the paths of a leaf's certificate and key."""
    base = folder / leaf.authority
    return base / f"{leaf.name}.crt", base / f"{leaf.name}.key"


def _read_signer(base: Path, step: Step | None) -> Signer | None:
    """Return the authority in `base` that signs; None if it has no certificate yet.

    An authority that was taken over from the nodes has no key, and signs nothing: a rotation is replacing it.
    """
    from cryptography import x509

    certificate_path, key_path = rotation.signing(base, step)
    try:
        if not certificate_path.exists():
            if key_path.exists():  # a run was killed before it wrote the certificate; the next one uses this key
                certificates.load_key(key_path.read_bytes())
            return None
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        if step is Step.TRUST and not key_path.exists():
            return Signer(certificate, None)
        key = certificates.load_key(key_path.read_bytes())
    except FileNotFoundError as error:
        raise _damaged(base, "the authority's key is gone") from error
    except OSError as error:
        raise _damaged(base, f"the authority cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(base, "the authority is damaged: a file is not the certificate or key of its name") from error
    if certificate.public_key() != key.public_key():
        raise _damaged(base, "the authority is damaged: the key does not belong to the certificate")
    return Signer(certificate, key)


def _read_trusted(base: Path, step: Step | None) -> tuple[x509.Certificate, ...]:
    found = (path.read_bytes() for path in rotation.trusted(base, step) if path.exists())
    return tuple(one for pem in found for one in certificates.load_all(pem)[:1])


def can_sign(signer: Signer | None) -> bool:
    """Return whether the authority can sign: it has a key, or is not created yet."""
    return signer is None or signer.key is not None


def _damaged(base: Path, what: str) -> PreflightRefused:
    advice = (
        "restore ca.crt and ca.key from a copy, readable by you: a new authority would cut off every node that "
        "trusts this one. Only if no node trusts it, delete the folder and run again."
    )
    return PreflightRefused(Problem(what, str(base), advice))


@dataclass(frozen=True)
class _Reading:
    """What decides whether a leaf is fit. `pinned`: None where only the signer counts."""

    folder: Path
    signers: Mapping[str, Signer]
    moment: datetime
    target: RotationTarget
    pinned: Pins | None
    clients: Signer | None

    def leaf(self, leaf: Leaf) -> Issued | None:
        """Return a leaf if it is fit."""
        signer = self.signers.get(leaf.authority)
        try:
            certificate, key = (path.read_bytes() for path in files_of(self.folder, leaf))
        except OSError:
            return None
        if signer is None:
            return None
        counts: Signer | None = signer
        if self.pinned and _is_of_client(leaf):
            counts = None if self._is_pinned(certificate) else self.clients
        if not certificates.is_fit(leaf, certificate, key, counts, self.moment, self.target.leaves_since):
            return None
        return Issued(certificate, key, certificates.certificate_pem(signer.certificate))

    def _is_pinned(self, certificate: bytes) -> bool:
        common = self.pinned.common if self.pinned else frozenset()
        return any(certificates.certificate_pem(one) in common for one in certificates.load_all(certificate)[:1])

    def unpinned(self, cluster: Cluster, issued: Mapping[Leaf, Issued]) -> Iterator[Leaf]:
        """Yield the leaves of members that these do not accept yet."""
        own = self.pinned.own if self.pinned else {}
        for leaf in map(store_leaf, cluster.members if self.pinned else ()):
            there = certificates.load_all(issued[leaf].certificate)[0] if leaf in issued else None
            if there is None or own.get(leaf.name) != certificates.certificate_pem(there):
                yield leaf


def _is_of_client(leaf: Leaf) -> bool:
    """Say whether a leaf is that of a mere client of the store."""
    return leaf.authority == Authority.CLIENT and not leaf.server


def _is_accepted(folder: Path, leaf: Leaf, trusted: Sequence[x509.Certificate], moment: datetime) -> bool:
    """Return whether a leaf is valid and of an authority that is trusted now: in a rotation there are two."""
    try:
        certificate, key = (path.read_bytes() for path in files_of(folder, leaf))
    except OSError:
        return False
    living = (Signer(one, None) for one in trusted if moment < one.not_valid_after_utc)
    return any(certificates.is_fit(leaf, certificate, key, signer, moment, left=timedelta(0)) for signer in living)


def _kept(folder: Path, wanted: tuple[Leaf, ...], step: Step | None) -> Iterator[Kept]:
    """Yield every certificate in the folder, fit or not."""
    paths = [(f"authority {name}", path) for name in Authority for path in rotation.trusted(folder / name, step)]
    paths += [(f"leaf {leaf}", files_of(folder, leaf)[0]) for leaf in wanted]
    for what, path in paths:
        if path.exists():
            yield from (Kept(what, path, one.not_valid_after_utc) for one in certificates.load_all(path.read_bytes()))


def _need(folder: Path, leaf: Leaf) -> Need:
    return Need(f"leaf {leaf}", "renew" if files_of(folder, leaf)[0].exists() else "create")


def aging(signers: Mapping[str, Signer], moment: datetime, step: Step | None) -> Iterator[Need]:
    """Yield each authority that is missing, or ends too soon to sign a leaf of full lifetime.

    During a rotation an authority is renewed only if it could sign no leaf at all.
    """
    life = timedelta(0) if step else LEAF_LIFETIME
    for name in Authority:
        if name not in signers:
            yield Need(f"authority {name}", "create")
        elif can_sign(signers[name]) and signers[name].certificate.not_valid_after_utc < moment + life + RENEW_BEFORE:
            yield Need(f"authority {name}", "renew")


def _loose(folder: Path) -> Iterator[Need]:
    """Yield the folders and keys that others than their owner can open."""
    for path in (folder, *sorted(folder.glob("*/")), *sorted(folder.glob("*/*.key"))):
        if path.exists() and path.stat().st_mode & 0o077:
            yield Need(f"mode of {path.relative_to(folder.parent)}", "tighten")
