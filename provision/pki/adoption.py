"""A cluster taken over: what its nodes hold becomes the old side of a rotation, whose authorities have no keys here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from provision.inventory.model import Cluster
from provision.pki import certificates, files, rotation
from provision.pki.certificates import Signer
from provision.pki.identity import files_of
from provision.pki.leaves import CONTROLLER_DOCKER, CONTROLLER_STORE, Authority, Leaf, leaves, store_client_leaf
from provision.pki.making import make_folders

Pair = tuple[bytes, bytes]


def take_over(
    cluster: Cluster,
    authorities: Mapping[Authority, Collection[str]],
    pairs: Mapping[Leaf, Pair],
    now: datetime | None = None,
) -> bool:
    """Write the nodes' certificates and keys into the folder, which lacks an authority. False: nothing was written.

    That is where they are not all fit, or not of one authority each (`authorities`: what was found on any node): a
    rotation could not keep such nodes together. To the store the controller shows a dockerd's leaf, until the
    rotation makes it one of its own; it has none for the Docker API. Killed, it can be done again.
    """
    moment = now or datetime.now(UTC)
    signers = {name: signer for name, found in authorities.items() if (signer := _signer(found))}
    needed = set(leaves(cluster)) - {CONTROLLER_STORE, CONTROLLER_DOCKER}
    if len(signers) < len(Authority) or needed != set(pairs):
        return False
    if not all(certificates.is_fit(leaf, *pairs[leaf], signers[leaf.authority], moment) for leaf in needed):
        return False
    mine = {CONTROLLER_STORE: pairs[store_client_leaf(cluster.nodes[0])]}
    with files.locked(cluster.folder.parent):
        make_folders(cluster.folder)
        files.write(cluster.folder / rotation.RECORD, f"{rotation.Step.TRUST}\n".encode(), 0o600)
        for leaf, (certificate, key) in {**pairs, **mine}.items():
            certificate_path, key_path = files_of(cluster.folder, leaf)
            files.write(key_path, key, 0o400)
            files.write(certificate_path, certificate, 0o444)
        # The one that preflight looks for on the nodes comes last.
        for name in Authority:
            files.write(
                cluster.folder / name / "ca.crt", certificates.certificate_pem(signers[name].certificate), 0o444
            )
            files.sync_folder(cluster.folder / name)
        files.sync_folder(cluster.folder)
    return True


def _signer(found: Collection[str]) -> Signer | None:
    """Return the one authority that was found everywhere, without its key."""
    read = [certificates.load_all(text.encode()) for text in found]
    return Signer(read[0][0], None) if len(read) == 1 and len(read[0]) == 1 else None
