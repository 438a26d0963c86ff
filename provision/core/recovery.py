"""How a cluster goes on that has lost its quorum: what its nodes say of it, and what was decided. Values."""

from __future__ import annotations

from dataclasses import dataclass

from provision.inventory.model import Node

#: What to do where a quorum is lost, after all else.
ADVICE = "if hosts are lost for good: fab recover --plan"


@dataclass(frozen=True)
class Standing:
    """What a node that answers is to its control plane. Term and index of raft decide nothing: see `recover`."""

    node: Node
    #: Whether the node has the cluster's data: it is a member of the store, or a manager of the swarm.
    holds_data: bool = False
    #: Whether it knows a leader, so that writes are acknowledged.
    has_quorum: bool = False
    #: The addresses of the members that it lists, its own included.
    members: tuple[str, ...] = ()
    #: The networks that hosts share, as it knows them, by name.
    networks: frozenset[str] = frozenset()
    #: Whether it lists them. Where not, it may know others.
    lists_networks: bool = True
    #: What users have in it beside networks, as it completes "it has …"; asked for only before a restore.
    contents: tuple[str, ...] = ()
    #: How many changes it has seen: compares members of one cluster that nobody forced, and nothing else.
    progress: int = 0
    #: Further words for a person.
    told: str = ""


@dataclass(frozen=True)
class LostHost:
    """A host that is given up: its name in the inventory, empty if it has none; its address, and its containers."""

    name: str
    address: str
    containers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recovery:
    """What was decided. `identity` is new with every recovery: nodes that do not know it were away meanwhile."""

    keep: Node
    lost: tuple[LostHost, ...]
    #: Other nodes with the cluster's data that answer: they are stopped first, and join again without it.
    others: tuple[Node, ...] = ()
    identity: str = ""
    #: When it was decided, in ISO 8601, UTC.
    moment: str = ""
    #: Those of the others that have been a cluster of their own since an earlier recovery.
    apart: tuple[Node, ...] = ()

    @property
    def line(self) -> str:
        """What the nodes keep of it for good: see recovery/generations.py."""
        return f"{self.identity} {self.moment} lost: {', '.join(f'{one.name} {one.address}' for one in self.lost)}"

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses of the lost hosts."""
        return frozenset(one.address for one in self.lost)
