"""Whether a cluster can be recovered, and from which node. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from provision.core.membership import majority
from provision.core.recovery import Standing
from provision.errors import Problem
from provision.inventory.model import Cluster, Node


@dataclass(frozen=True)
class Outlook:
    """What is known of the cluster before anything is done."""

    cluster: Cluster
    #: Of the nodes that answer.
    standings: tuple[Standing, ...]
    #: Members that do not answer, by address. Of a node that is in the inventory, `name_of` knows the name.
    silent: tuple[str, ...]
    #: How many members there were, and how many of them a majority is.
    members: int
    needed: int

    @property
    def has_quorum(self) -> bool:
        """Whether a node that answers knows a leader."""
        return any(one.has_quorum for one in self.standings)

    @property
    def holders(self) -> tuple[Standing, ...]:
        """The nodes that answer and have the cluster's data, the best one first.

        The best one has seen the most: its networks and its progress. Members have the same order in the inventory.
        """
        found = [one for one in self.standings if one.holds_data]
        return tuple(sorted(found, key=lambda one: (-one.progress, -len(one.networks))))

    @property
    def may_live(self) -> bool:
        """Whether the silent members could be a majority among themselves."""
        return bool(self.members) and len(self.silent) >= self.needed

    def name_of(self, address: str) -> str:
        """Return the name of a host by its address, or the address if the inventory does not have it."""
        return next((node.name for node in self.cluster.hosts if node.address == address), address)


def outlook(cluster: Cluster, standings: Sequence[Standing]) -> Outlook:
    """Return what the nodes that answer know. The longest list of members counts: a forced member lists itself."""
    known = max((one.members for one in standings), key=len, default=())
    answering = {one.node.address for one in standings}
    silent = tuple(address for address in known if address not in answering)
    return Outlook(cluster, tuple(standings), silent, len(known), majority(len(known)))


def obstacles(found: Outlook, lost: Collection[str], unreached: Collection[str]) -> tuple[Problem, ...]:
    """Say why the cluster must not, or cannot, be recovered with these hosts given up. `lost`: names."""
    problems = []
    names = {node.name for node in found.cluster.hosts}
    for name in lost:
        if name not in names and name not in found.silent:
            problems.append(Problem(f"--lost {name}: no node has this name", str(found.cluster.path), "fab status"))
        elif name in names and name not in unreached:
            what = "this host answers, and is not lost"
            problems.append(Problem(what, name, f"leave --lost {name} out; or switch the host off, if it is to go"))
    unnamed = [found.name_of(one) for one in found.silent if found.name_of(one) not in lost and one not in lost]
    if found.may_live and unnamed:
        what = (
            f"{', '.join(unnamed)}: silent, and perhaps at work without the others: "
            f"{len(found.silent)} of {found.members} members, and {found.needed} are a majority"
        )
        flags = " ".join(f"--lost {name}" for name in unnamed)
        problems.append(Problem(what, "cluster", f"bring them back; or, if they are lost for good, add {flags}"))
    return tuple(problems)


def chosen(found: Outlook, keep: str) -> Node | None:
    """Return the node that is kept: the one of this name, or the best; None if no node has the cluster's data."""
    wanted = [one.node for one in found.holders if keep in ("", one.node.name)]
    return wanted[0] if wanted else None
