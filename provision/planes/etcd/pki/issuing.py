"""Write the identity's folder: create what is missing, renew what ends, take the next step of a rotation."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from provision.inventory.model import Cluster
from provision.pki import certificates, files
from provision.pki.certificates import Signer
from provision.planes.etcd.pki import pins, rotation
from provision.planes.etcd.pki.identity import Identity, aging, can_sign, files_of
from provision.planes.etcd.pki.leaves import Authority, leaves
from provision.planes.etcd.pki.rotation import RotationTarget, Step


def make(cluster: Cluster, now: datetime | None = None, target: RotationTarget | None = None) -> Identity:
    """Create what is missing, renew what is no longer fit, keep everything else. Return the identity.

    `target`: the next step of a rotation. A lock admits one process at a time. PreflightRefused if an authority is
    damaged, or the folder cannot be written.
    """
    moment = now or datetime.now(UTC)
    try:
        with files.locked(cluster.folder.parent):
            make_folders(cluster.folder)
            identity = Identity.read(cluster, moment, target)
            if identity.missing():
                _supply(cluster, identity, moment)
                identity = Identity.read(cluster, moment, RotationTarget(leaves_since=identity.target.leaves_since))
            return identity
    except OSError as error:
        raise files.refused(error, cluster.folder) from error


def make_folders(folder: Path) -> None:
    """Create the folder and its subfolders, closed to others and ignored by git."""
    files.make_folder(folder)
    for name in Authority:
        (folder / name).mkdir(mode=0o700, exist_ok=True)


def _supply(cluster: Cluster, identity: Identity, moment: datetime) -> None:
    """Do everything that the identity needs, under the lock."""
    folder, step = cluster.folder, identity.step
    _tighten(folder)
    signers = dict(identity.signers)
    for need in aging(identity.signers, moment, step):
        name = Authority(need.what.removeprefix("authority "))
        signers[name] = _make_authority(cluster, name, *rotation.signing(folder / name, step), moment)
    if step:
        _turn(cluster, step, moment)
    for leaf in leaves(cluster):
        signer = identity.signer(leaf) if identity.client_signer else signers[leaf.authority]
        if leaf not in identity.issued and signer and can_sign(signer):
            certificate_path, key_path = files_of(folder, leaf)
            key = certificates.new_key()
            certificate = certificates.sign_leaf(leaf, key, signer, moment)
            # If the run is killed between these two, key and certificate do not match, and the next run replaces both.
            files.write(key_path, certificates.key_pem(key), 0o400)
            files.write(certificate_path, certificates.certificate_pem(certificate), 0o444)
    if identity.pinned and step is Step.TRUST:
        pins.write_own(cluster)
    for name in Authority:
        files.sync_folder(folder / name)


def shut_out(cluster: Cluster, recovery: str, now: datetime | None = None) -> Identity:
    """Begin the rotation of a recovery: etcd accepts no clients but those of these nodes, and the controller.

    A second recovery replaces the new authority of clients once more. It may be killed anywhere, and done again.
    Not in a later step of a rotation, in which some dockerds trust each authority alone: `can_shut_out`.
    """
    moment = now or datetime.now(UTC)
    base = cluster.folder / Authority.CLIENT
    try:
        with files.locked(cluster.folder.parent):
            make_folders(cluster.folder)
            if not has_shut_out(cluster, recovery):
                for kind in ("crt", "key"):
                    (base / f"next.{kind}").unlink(missing_ok=True)
                _make_authority(cluster, Authority.CLIENT, base / "next.crt", base / "next.key", moment)
                pins.write(cluster, recovery)
                _turn(cluster, Step.TRUST, moment)
    except OSError as error:
        raise files.refused(error, cluster.folder) from error
    return make(cluster, now)


def can_shut_out(cluster: Cluster) -> bool:
    """Say whether no rotation is in a step in which the new authorities sign."""
    return rotation.recorded(cluster.folder) in (None, Step.TRUST)


def has_shut_out(cluster: Cluster, recovery: str) -> bool:
    """Say whether the rotation of this recovery has begun."""
    there = pins.read(cluster.folder)
    return there is not None and there.recovery == recovery and rotation.recorded(cluster.folder) is not None


def _turn(cluster: Cluster, step: Step, moment: datetime) -> None:
    """Take a step of a rotation. The step is recorded after its files are written and before anything relies on it."""
    folder = cluster.folder
    bases = {name: folder / name for name in Authority}
    if step is Step.TRUST:
        for name, base in bases.items():
            # A next.crt that is left from a rotation without a record may be old.
            if rotation.recorded(folder) is None or not (base / "next.crt").exists():
                _make_authority(cluster, name, base / "next.crt", base / "next.key", moment)
            both = b"".join(path.read_bytes() for path in rotation.trusted(base, step))
            files.write(base / rotation.BOTH, both, 0o444)
            files.sync_folder(base)
    files.write(folder / rotation.RECORD, f"{step}\n".encode(), 0o600)
    files.sync_folder(folder)
    if step is Step.DROP:
        for base in bases.values():
            rotation.drop(base)
            pins.clear(base)
            files.sync_folder(base)
        (folder / rotation.RECORD).unlink()
        files.sync_folder(folder)


def _make_authority(
    cluster: Cluster, name: Authority, certificate_path: Path, key_path: Path, moment: datetime
) -> Signer:
    """Write an authority's self-signed certificate. Use its existing key if it has one."""
    if key_path.exists():
        key = certificates.load_key(key_path.read_bytes())
    else:
        key = certificates.new_key()
        files.write(key_path, certificates.key_pem(key), 0o400)
    certificate = certificates.sign_authority(cluster.name, name, key, moment)
    files.write(certificate_path, certificates.certificate_pem(certificate), 0o444)
    return Signer(certificate, key)


def _tighten(folder: Path) -> None:
    """Close folders and keys to others, and remove files that a killed run left incomplete."""
    for path in (folder, *folder.glob("*/")):
        path.chmod(0o700)
    for path in folder.glob("*/*.key"):
        path.chmod(0o400)
    for path in folder.glob(f"*/*{files.PARTIAL}"):
        path.unlink()
