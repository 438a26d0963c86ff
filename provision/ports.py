"""The ports that nodes open: one table, which all that speaks of ports reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from provision import layout

Protocol = Literal["tcp", "udp"]


@dataclass(frozen=True)
class Port:
    """One port: number and protocol, whose unit opens it, what for, and what keeps others out.

    `members`: only members open it. `tunnelled`: the controller comes to it through SSH.
    """

    number: int
    protocol: Protocol
    unit: str
    purpose: str
    protection: str
    members: bool = False
    tunnelled: bool = False

    def __str__(self) -> str:
        """Return `7946/tcp`."""
        return f"{self.number}/{self.protocol}"


_GOSSIP = "Docker's gossip about containers"
_CLEAR_TEXT = "nothing: clear text"

#: What Docker's overlay networks need in every control plane.
OVERLAY = (
    Port(layout.GOSSIP_PORT, "tcp", layout.DOCKER_UNIT, _GOSSIP, _CLEAR_TEXT),
    Port(layout.GOSSIP_PORT, "udp", layout.DOCKER_UNIT, _GOSSIP, _CLEAR_TEXT),
    Port(layout.VXLAN_PORT, "udp", layout.DOCKER_UNIT, "packets between containers", _CLEAR_TEXT),
)
