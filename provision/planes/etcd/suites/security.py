"""The ports: each refuses clients without the right certificate, and none accepts plain text.

A member's peer certificate has to name the address that it comes from. So the peer port is tried from another member's
host: a host with several addresses may come to itself from another one than that of the inventory.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from provision.checks import listeners
from provision.checks.refusals import Tried, judged, tried
from provision.checks.scratch import Scratch, on_each_node
from provision.checks.tls_probe import Client, knock, written
from provision.core.check import check
from provision.core.outcome import Outcome
from provision.inventory.model import Cluster, Node
from provision.pki.bad_certificates import wrong
from provision.planes.etcd import pki, ports
from provision.planes.etcd.coordinator import opened

#: Docker's port without TLS.
PLAIN_PORT = 2375

_ADVICE = "fab plan; on the node: journalctl -u etcd -u docker"


@dataclass(frozen=True)
class Door:
    """A port of a node, and the leaf of a client that it admits from the host of the node `source`."""

    node: Node
    port: int
    leaf: pki.Leaf
    source: Node

    def is_for(self, leaf: pki.Leaf) -> bool:
        """Return whether the port admits this leaf from `source`: a client of its authority; a member from its host."""
        own = self.leaf.address in (None, leaf.address)
        return leaf.client and leaf.authority == self.leaf.authority and own


def doors(cluster: Cluster, node: Node) -> tuple[Door, ...]:
    """Return the ports of a node that admit clients with a certificate."""
    docker = Door(node, ports.DOCKER_PORT, pki.CONTROLLER_DOCKER, node)
    store = Door(node, ports.STORE_PORT, pki.CONTROLLER_STORE, node)
    member = next((one for one in cluster.members if one != node), node)
    peer = Door(node, ports.PEER_PORT, pki.peer_leaf(member), member)
    return (docker, store, peer) if node.member else (docker,)


@check("security")
@on_each_node
def wrong_clients_are_refused(made: Scratch) -> Outcome:
    """Every port refuses plain text, TLS 1.1, and clients whose certificate is missing or wrong in one way."""
    cluster, identity = made.proof.cluster, opened(made.proof.coordinator).identity
    seen = []
    for door in doors(cluster, made.node):
        with wrong_clients(cluster, identity, door) as clients:
            seen.append(_tried(made, door, clients))
    return judged(made.node, seen, _ADVICE)


@check("security")
@on_each_node
def certificates_open_one_port_alone(made: Scratch) -> Outcome:
    """Every port refuses the cluster's certificates for other ports and members: a leaked one opens one port only."""
    cluster, identity = made.proof.cluster, opened(made.proof.coordinator).identity
    seen = [_tried(made, door, strangers(cluster, identity, door)) for door in doors(cluster, made.node)]
    return judged(made.node, seen, _ADVICE, "the cluster's certificates for other ports and members")


@check("security")
@on_each_node
def nothing_on_the_plain_port(made: Scratch) -> Outcome:
    """Nothing listens on Docker's port for plain text: whoever reaches it is root on the node."""
    why = "whoever reaches the port is root"
    return listeners.closed(made, (PLAIN_PORT,), ports.DOCKER_PORT, why)


def _tried(made: Scratch, door: Door, clients: Iterable[Client]) -> Tried:
    identity = opened(made.proof.coordinator).identity
    port = made.remote(door.source).tunnel(door.port, door.node.address)
    at = partial(knock, port=port, address=door.node.address, authority=identity.authority_path(door.leaf.authority))
    return tried(door.port, at, Client("the right client", *identity.paths(door.leaf)), clients)


@contextmanager
def wrong_clients(cluster: Cluster, identity: pki.Identity, door: Door) -> Iterator[tuple[Client, ...]]:
    """Yield one client of each wrong kind. Their certificates are in files that are removed at the end."""
    signer = identity.signers[door.leaf.authority]
    right = identity.paths(door.leaf)
    with written(wrong(door.leaf, signer, cluster.name, datetime.now(UTC))) as shown:
        yield (
            Client("plain text", speaks=None),
            Client("no certificate"),
            *(Client(name, path) for name, path in shown.items()),
            Client("TLS 1.1", *right, speaks=ssl.TLSVersion.TLSv1_1),
        )


def strangers(cluster: Cluster, identity: pki.Identity, door: Door) -> Iterator[Client]:
    """Yield clients with a certificate of the cluster that the port must refuse."""
    for leaf in pki.leaves(cluster):
        if not door.is_for(leaf):
            yield Client(str(leaf), *identity.paths(leaf))
