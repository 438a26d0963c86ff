"""Certificates: authorities and leaves on the controller, then each node's own on that node."""

from __future__ import annotations

from provision import layout, pki
from provision.inventory.model import Node
from provision.phases import Phase
from provision.plan import CONTROLLER, Change
from provision.resources import File, Folder, Resource
from provision.situation import Situation


class Certificates(Phase):
    """A node holds its own leaves and the authorities' certificates; an authority's key never leaves home."""

    name = "pki"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """What is made on the controller. The engine makes it before any node changes."""
        return tuple(
            Change(
                CONTROLLER,
                self.name,
                need.what,
                "create" if need.action == "create" else "update",
                note=need.action,
            )
            for need in situation.identity.missing()
        )

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return a node's folders, keys and certificates."""
        return (
            *(etcd_files(situation, node) if node.member else ()),
            Folder(layout.DOCKER),
            Folder(layout.DOCKER_PKI, 0o700),
            *docker_files(situation, node),
        )


def etcd_files(situation: Situation, node: Node) -> tuple[Resource, ...]:
    """Return what etcd reads: only its user can."""
    group = f"root:{layout.USER}"
    return (
        Folder(layout.ETCD, 0o755),
        Folder(layout.ETCD_PKI, 0o750, group),
        *_leaf(situation, pki.peer_leaf(node), layout.ETCD_PKI, "peer", "peer-ca", f"{layout.USER}:{layout.USER}"),
        *_leaf(
            situation,
            pki.store_leaf(node),
            layout.ETCD_PKI,
            "server",
            "client-ca",
            f"{layout.USER}:{layout.USER}",
        ),
    )


def docker_files(situation: Situation, node: Node) -> tuple[File, ...]:
    """Return what dockerd reads: its API's leaf, and the one it shows the store."""
    return (
        *_leaf(situation, pki.docker_leaf(node), layout.DOCKER_PKI, "server", "ca", "root:root"),
        *_leaf(situation, pki.store_client_leaf(node), layout.DOCKER_PKI, "store", "store-ca", "root:root"),
    )


def _leaf(
    situation: Situation, leaf: pki.Leaf, folder: str, name: str, authority: str, owner: str
) -> tuple[File, File, File]:
    issued = situation.identity.get(leaf)
    certificate, key = (issued.certificate, issued.key) if issued else (None, None)
    return (
        File(f"{folder}/{authority}.crt", situation.identity.certificate(leaf.authority), 0o444, opaque=True),
        File(f"{folder}/{name}.crt", certificate, 0o444, opaque=True),
        File(f"{folder}/{name}.key", key, 0o400, owner, opaque=True),
    )
