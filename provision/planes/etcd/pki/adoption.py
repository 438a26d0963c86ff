"""Take over a cluster whose folder is lost: start a rotation from the nodes' authorities, whose keys are lost too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from provision.inventory.model import Cluster
from provision.pki import certificates, files
from provision.pki.certificates import Signer
from provision.pki.leaf import Leaf
from provision.planes.etcd.pki import rotation
from provision.planes.etcd.pki.identity import files_of
from provision.planes.etcd.pki.issuing import make_folders
from provision.planes.etcd.pki.leaves import CONTROLLER_DOCKER, CONTROLLER_STORE, Authority, leaves, store_client_leaf

Pair = tuple[bytes, bytes]


def take_over(
    cluster: Cluster,
    authorities: Mapping[Authority, Collection[str]],
    pairs: Mapping[Leaf, Pair],
    now: datetime | None = None,
) -> bool:
    """Write the nodes' certificates and keys into the folder. Return False, and write nothing, if they do not fit.

    They fit if each leaf is valid and one authority has signed all leaves of its kind. Otherwise a rotation could not
    keep the nodes connected. `authorities`: the certificates of authorities found on any node.
    Until the rotation gives the controller leaves of its own, it uses a dockerd's leaf for the store, and none for the
    Docker API. A run that is killed here can be repeated.
    """
    moment = now or datetime.now(UTC)
    if set(pairs) != set(leaves(cluster)) - {CONTROLLER_STORE, CONTROLLER_DOCKER}:
        return False
    found_signers = {name: _signer(name, found, pairs, moment) for name, found in authorities.items()}
    signers = {name: signer for name, signer in found_signers.items() if signer}
    if len(signers) < len(Authority):
        return False
    mine = {CONTROLLER_STORE: pairs[store_client_leaf(cluster.nodes[0])]}
    with files.locked(cluster.folder.parent):
        make_folders(cluster.folder)
        files.write(cluster.folder / rotation.RECORD, f"{rotation.Step.TRUST}\n".encode(), 0o600)
        for leaf, (certificate, key) in {**pairs, **mine}.items():
            certificate_path, key_path = files_of(cluster.folder, leaf)
            files.write(key_path, key, 0o400)
            files.write(certificate_path, certificate, 0o444)
        # Preflight compares the nodes with the authorities' certificates: they are written last.
        for name in Authority:
            files.write(
                cluster.folder / name / "ca.crt", certificates.certificate_pem(signers[name].certificate), 0o444
            )
            files.sync_folder(cluster.folder / name)
        files.sync_folder(cluster.folder)
    return True


def _signer(name: Authority, found: Collection[str], pairs: Mapping[Leaf, Pair], moment: datetime) -> Signer | None:
    """Return the authority that has signed all leaves of its kind, without its key; None if no single one has.

    Some nodes trust two authorities if the lost controller was in the middle of a rotation.
    """
    mine = [leaf for leaf in pairs if leaf.authority is name]
    for certificate in (one for text in sorted(found) for one in certificates.load_all(text.encode())):
        signer = Signer(certificate, None)
        if all(certificates.is_fit(leaf, *pairs[leaf], signer, moment) for leaf in mine):
            return signer
    return None
