"""Certificates: authorities and leaves on the controller, then the store's own on its members.

dockerd's come with the restart that takes them up, in planes/etcd/phases/docker.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.core.phase import Phase, Wave
from provision.core.plan import CONTROLLER, Action, Change
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.pki import certificates
from provision.pki.leaf import Leaf
from provision.planes.etcd import membership, paths, pki
from provision.planes.etcd.local import local, with_identity
from provision.resources import File, Folder, Resource

_ACTIONS: Mapping[str, Action] = {"create": "create", pki.Step.TRUST: "create", pki.Step.DROP: "remove"}


@dataclass(frozen=True)
class Place:
    """Where a leaf lies on its node, and beside it the certificates of the authority that it is checked with."""

    leaf: Leaf
    certificate: str
    key: str
    authority: str
    owner: str


def etcd_places(node: Node) -> tuple[Place, ...]:
    """Return where a member's leaves are: only etcd's user can read the keys."""
    if not node.member:
        return ()
    owner = f"{paths.USER}:{paths.USER}"
    return (
        _place(pki.peer_leaf(node), paths.ETCD_PKI, "peer", paths.PEER_AUTHORITY, owner),
        _place(pki.store_leaf(node), paths.ETCD_PKI, "server", paths.CLIENT_AUTHORITY, owner),
    )


def docker_places(node: Node) -> tuple[Place, ...]:
    """Return where dockerd's are: its API's leaf, and the one it shows the store."""
    return (
        _place(pki.docker_leaf(node), paths.DOCKER_PKI, "server", f"{paths.DOCKER_PKI}/ca.crt", "root:root"),
        _place(pki.store_client_leaf(node), paths.DOCKER_PKI, "store", f"{paths.DOCKER_PKI}/store-ca.crt", "root:root"),
    )


def _place(leaf: Leaf, folder: str, name: str, authority: str, owner: str) -> Place:
    return Place(leaf, f"{folder}/{name}.crt", f"{folder}/{name}.key", authority, owner)


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
                _ACTIONS.get(need.action, "update"),
                note=need.action.told if isinstance(need.action, pki.Step) else need.action,
            )
            for need in local(situation).identity.missing()
        )

    def change_controller(self, situation: Situation) -> Situation:
        """Make what the identity's folder lacks."""
        identity = local(situation).identity
        return with_identity(situation, pki.make(situation.cluster, target=identity.target))

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return a member's folders, keys and certificates; nothing elsewhere."""
        if not node.member:
            return ()
        waiting = turned_with_docker(situation, node)
        return (
            Folder(paths.ETCD, 0o755),
            Folder(paths.ETCD_PKI, 0o750, f"root:{paths.USER}"),
            *trusted_files(situation, node),
            *(file for place in etcd_places(node) if place not in waiting for file in leaf_files(situation, place)),
        )

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """A member at a time where the store is at work: for a moment its certificate and key are no pair."""
        (together,) = super().waves(situation, changes)
        return tuple((node,) for node in together) if membership.is_running(situation) else (together,)


def trusted_files(situation: Situation, node: Node) -> tuple[File, ...]:
    """Return the authorities' certificates that etcd reads when it starts."""
    identity = local(situation).identity

    def trusted(authority: str) -> bytes | None:
        clients = authority == pki.Authority.CLIENT
        return identity.trusted_clients(node) if clients else identity.trusted(authority)

    places = etcd_places(node)
    return tuple(
        File(place.authority, trusted(place.leaf.authority), 0o444, opaque=True, public=True) for place in places
    )


def leaf_files(situation: Situation, place: Place) -> tuple[File, File]:
    """Return a leaf's certificate and key."""
    issued = local(situation).identity.get(place.leaf)
    certificate, key = (issued.certificate, issued.key) if issued else (None, None)
    return (
        File(place.certificate, certificate, 0o444, opaque=True, public=True),
        File(place.key, key, 0o400, place.owner, opaque=True),
    )


def docker_files(situation: Situation, node: Node) -> tuple[File, ...]:
    """Return what dockerd reads when it starts: leaves, and of each authority the one that signs."""
    return tuple(
        file
        for place in docker_places(node)
        for file in (
            File(
                place.authority,
                local(situation).identity.certificate(place.leaf.authority),
                0o444,
                opaque=True,
                public=True,
            ),
            *leaf_files(situation, place),
        )
    )


def turned_with_docker(situation: Situation, node: Node) -> tuple[Place, ...]:
    """Return which of etcd's leaves waits for the restart of this node's dockerd.

    Where the new authority signs, a dockerd that trusts the old alone finds the members that still show a leaf of it,
    and one that trusts the new alone those that do no more: its own node's is among them (pki/rotation.py). One that
    has ended leads nobody anywhere, and does not wait.
    """
    place = etcd_places(node)[-1] if node.member else None
    if place is None or local(situation).identity.step is not pki.Step.LEAVES:
        return ()
    there = situation.of(node).paths.get(place.certificate)
    shown = certificates.load_all(((there and there.text) or "").encode())
    at_work = any(one.not_valid_after_utc > local(situation).identity.moment for one in shown)
    return (place,) if at_work else ()
