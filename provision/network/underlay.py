"""The network below the overlay: the largest packet that crosses between all nodes."""

from __future__ import annotations

from provision.core.situation import Situation
from provision.inventory.values import MTUS

USUAL = 1500
"""Ethernet's MTU in bytes, which is also Docker's default."""

LOOPBACK = 65535
"""An MTU in bytes. An interface with this or a larger MTU does not lead to another node."""

VXLAN = 50
"""Bytes of each packet that Docker's driver reserves for the overlay's headers."""

ESP = 26
"""Bytes of each packet that Docker's driver also reserves on an encrypted network."""


def mtu(situation: Situation) -> int:
    """Return the inventory's MTU, or else the smallest of the nodes' interfaces and of what crossed between nodes."""
    said = situation.cluster.mtu
    found = (situation.of(node).mtus.get(node.address, LOOPBACK) for node in situation.cluster.nodes)
    links = [min(link, MTUS[1]) for link in found if link < LOOPBACK]
    return said or min((*links, *situation.matrix.sizes.values()), default=USUAL)
