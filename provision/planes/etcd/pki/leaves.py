"""The leaves that a cluster needs, and their permitted uses."""

from __future__ import annotations

from enum import StrEnum

from provision.inventory.model import Cluster, Node
from provision.pki.leaf import Leaf


class Authority(StrEnum):
    """An authority. The value is the name of its folder."""

    PEER = "etcd-peer"
    CLIENT = "etcd-client"
    DOCKER = "docker"


CONTROLLER_STORE = Leaf(Authority.CLIENT, "controller", None, server=False, client=True)
CONTROLLER_DOCKER = Leaf(Authority.DOCKER, "controller", None, server=False, client=True)


def peer_leaf(node: Node) -> Leaf:
    """Return the leaf of a member for the other members. A member is both a server and a client of its peers."""
    return Leaf(Authority.PEER, f"{node.name}-peer", node.address, server=True, client=True)


def store_leaf(node: Node) -> Leaf:
    """Return the leaf that a member shows its clients. It is a client's leaf too, because etcd connects to itself."""
    return Leaf(Authority.CLIENT, f"{node.name}-server", node.address, server=True, client=True)


def store_client_leaf(node: Node) -> Leaf:
    """Return the leaf that a node's dockerd uses as a client of the store."""
    return Leaf(Authority.CLIENT, f"{node.name}-docker", None, server=False, client=True)


def docker_leaf(node: Node) -> Leaf:
    """Return the leaf that a node's Docker API shows its clients."""
    return Leaf(Authority.DOCKER, f"{node.name}-server", node.address, server=True, client=False)


def leaves(cluster: Cluster) -> tuple[Leaf, ...]:
    """Return every leaf that the cluster needs: those of the nodes, then the controller's."""
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
