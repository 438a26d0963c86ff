"""The ports that nodes open: one table, which all that speaks of ports reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from provision import layout

#: `esp` is IPsec's IP protocol: it has no port, and the number is its own.
Protocol = Literal["tcp", "udp", "esp"]


def started_by_us(facts: Any, unit: str) -> bool:
    """Say by a node's facts, which lie above this module, whether a unit was started with our files."""
    return bool(facts.unit(unit).inputs)


@dataclass(frozen=True)
class Port:
    """One port, or an IP protocol: number and protocol, whose unit opens it, what for, and what keeps others out.

    `members`: only members open it. `tunnelled`: the controller comes to it through SSH. `in_kernel`: the kernel, no
    process, has it. `tells_removed`: members that were removed are told so there, and rule no cluster of their own.
    `ours`: says by a node's facts whether the unit opens it for our cluster.
    """

    number: int
    protocol: Protocol
    unit: str
    purpose: str
    protection: str
    members: bool = False
    tunnelled: bool = False
    in_kernel: bool = False
    tells_removed: bool = False
    ours: Callable[[Any, str], bool] = started_by_us

    @property
    def listens(self) -> bool:
        """Whether something can listen there, and be tried."""
        return self.protocol != "esp"

    def is_ours(self, facts: Any) -> bool:
        """Say whether a node's unit opens this port for our cluster."""
        return self.ours(facts, self.unit)

    def __str__(self) -> str:
        """Return `7946/tcp`."""
        return f"{self.number}/{self.protocol}"


_GOSSIP = "Docker's gossip about containers"
_CLEAR_TEXT = "nothing: clear text"

#: What Docker's overlay networks need in every control plane.
OVERLAY = (
    Port(layout.GOSSIP_PORT, "tcp", layout.DOCKER_UNIT, _GOSSIP, _CLEAR_TEXT),
    Port(layout.GOSSIP_PORT, "udp", layout.DOCKER_UNIT, _GOSSIP, _CLEAR_TEXT),
    Port(layout.VXLAN_PORT, "udp", layout.DOCKER_UNIT, "packets between containers", _CLEAR_TEXT, in_kernel=True),
)
#: What encrypted networks need too.
ENCRYPTED = Port(50, "esp", layout.DOCKER_UNIT, "packets between containers of encrypted networks", "IPsec")
