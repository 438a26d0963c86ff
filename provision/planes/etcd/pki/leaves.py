"""Which leaves a cluster needs, and what each may be used for."""

from __future__ import annotations

from enum import StrEnum

from provision.inventory.model import Cluster, Node
from provision.pki.leaf import Leaf


class Authority(StrEnum):
    """Who signs: the value is the name of its folder."""

    PEER = "etcd-peer"
    CLIENT = "etcd-client"
    DOCKER = "docker"


CONTROLLER_STORE = Leaf(Authority.CLIENT, "controller", None, server=False, client=True)
CONTROLLER_DOCKER = Leaf(Authority.DOCKER, "controller", None, server=False, client=True)


def peer_leaf(node: Node) -> Leaf:
    """Return the leaf of a member towards the other members: each side of such a connection is both."""
    return Leaf(Authority.PEER, f"{node.name}-peer", node.address, server=True, client=True)


def store_leaf(node: Node) -> Leaf:
    """Return the leaf that a member shows its clients; a client's too, since etcd's gateway dials itself."""
    return Leaf(Authority.CLIENT, f"{node.name}-server", node.address, server=True, client=True)


def store_client_leaf(node: Node) -> Leaf:
    """Return the leaf with which a node's dockerd speaks to the store."""
    return Leaf(Authority.CLIENT, f"{node.name}-docker", None, server=False, client=True)


def docker_leaf(node: Node) -> Leaf:
    """Return the leaf of a node's Docker API."""
    return Leaf(Authority.DOCKER, f"{node.name}-server", node.address, server=True, client=False)


def leaves(cluster: Cluster) -> tuple[Leaf, ...]:
    """Return every leaf that the cluster needs, by node, the controller's last."""
    by_node = (
        leaf
        for node in cluster.nodes
        for leaf in (
            *((peer_leaf(node), store_leaf(node)) if node.member else ()),
            store_client_leaf(node),
            docker_leaf(node),
        )
    )
    return (*by_node, CONTROLLER_STORE, CONTROLLER_DOCKER)
