"""What lies below the overlay: the largest packet that the nodes' links, and the ways between them, carry."""

from __future__ import annotations

from provision.core.situation import Situation
from provision.inventory.values import MTUS

USUAL = 1500
"""Bytes: Ethernet's, and what Docker takes for granted where nothing is said."""

LOOPBACK = 65535
"""Bytes: an interface that takes as much leads to no other node."""

VXLAN = 50
"""Bytes of each packet that Docker's driver takes off for the overlay's own headers."""


def mtu(situation: Situation) -> int:
    """Return what the inventory says, or else the least that the nodes' interfaces and the ways between them carry."""
    said = situation.cluster.mtu
    found = (situation.of(node).mtus.get(node.address, LOOPBACK) for node in situation.cluster.nodes)
    links = [min(link, MTUS[1]) for link in found if link < LOOPBACK]
    return said or min((*links, *situation.matrix.sizes.values()), default=USUAL)
