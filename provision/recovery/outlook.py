"""Whether a cluster can be recovered, and from which node. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from provision.core.membership import majority
from provision.core.recovery import ADVICE, Recovery, Standing
from provision.errors import Problem
from provision.inventory.model import Cluster, Node


@dataclass(frozen=True)
class Outlook:
    """What is known of the cluster before anything is done."""

    cluster: Cluster
    #: Of the nodes that answer.
    standings: tuple[Standing, ...]
    #: The addresses of the members, as the nodes that answer list them; or else of the inventory's.
    members: tuple[str, ...]
    #: When each node that has returned was given up, by its name.
    returned: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_quorum(self) -> bool:
        """Whether a node that answers knows a leader."""
        return any(one.has_quorum for one in self.standings)

    @property
    def silent(self) -> tuple[str, ...]:
        """The addresses of members that do not answer."""
        answering = {one.node.address for one in self.standings}
        return tuple(address for address in self.members if address not in answering)

    @property
    def emptied(self) -> tuple[str, ...]:
        """The addresses of members whose hosts answer and have none of their data: new machines, or lost disks."""
        empty = {one.node.address for one in self.standings if not one.holds_data}
        return tuple(address for address in self.members if address in empty)

    @property
    def holders(self) -> tuple[Standing, ...]:
        """The nodes that answer and have the cluster's data, the best one first: it has seen most changes.

        Nodes that were part of different recoveries cannot be compared like this: `generations.divided`. What a node
        has that was given up is from before a recovery, and counts no more.
        """
        found = [one for one in self.standings if one.holds_data and one.node.name not in self.returned]
        return tuple(sorted(found, key=lambda one: (-one.progress, -len(one.networks))))

    @property
    def needed(self) -> int:
        """How many members a majority is."""
        return majority(len(self.members))

    @property
    def able(self) -> tuple[Standing, ...]:
        """The members that answer and have their data."""
        return tuple(one for one in self.holders if one.node.address in self.members)

    @property
    def apart(self) -> tuple[str, ...]:
        """The names of members whose lists of members lack each other: one was perhaps removed while it was away."""
        there = [one for one in self.holders if one.node.address in one.members]
        lacking = ((one, other) for one in there for other in there if other.node.address not in one.members)
        return tuple(sorted({one.node.name for pair in lacking for one in pair}))

    @property
    def is_settled(self) -> bool:
        """Whether enough members answer for the quorum that one of them knows.

        A member still knows a leader for some seconds after the others are lost.
        """
        return not self.has_quorum or len(self.able) >= self.needed

    @property
    def may_live(self) -> bool:
        """Whether the silent members could be a majority among themselves."""
        return bool(self.members) and len(self.silent) >= self.needed

    def name_of(self, address: str) -> str:
        """Return the name of a host by its address, or the address if the inventory does not have it."""
        return next((node.name for node in self.cluster.hosts if node.address == address), address)

    def alone_in(self, node: Node) -> tuple[str, ...]:
        """Return the networks that other nodes know, and this one does not; none where it lists none."""
        own = next((one for one in self.standings if one.node == node), None)
        if own is None or not own.lists_networks:
            return ()
        return tuple(sorted(frozenset().union(*(one.networks for one in self.standings)) - own.networks))

    @property
    def unlisted(self) -> tuple[str, ...]:
        """The names of the nodes that have the cluster's data, and do not list its networks."""
        return tuple(one.node.name for one in self.standings if one.holds_data and not one.lists_networks)


def outlook(
    cluster: Cluster, standings: Sequence[Standing], returned: Mapping[str, str] = MappingProxyType({})
) -> Outlook:
    """Return what the nodes that answer know. The longest list of members counts: a forced member lists itself."""
    listed = max((one.members for one in standings), key=len, default=())
    order = [node.address for node in cluster.hosts]
    ordered = sorted(listed, key=lambda address: order.index(address) if address in order else len(order))
    return Outlook(
        cluster, tuple(standings), tuple(ordered) or tuple(node.address for node in cluster.members), returned
    )


def obstacles(found: Outlook, lost: Collection[str], unreached: Collection[str], keep: str = "") -> tuple[Problem, ...]:
    """Say why the cluster must not be recovered with these hosts given up. `lost`: names, or addresses.

    `keep`: the node that was named to go on with.
    """
    problems = []
    able = [one.node.name for one in found.able]
    if found.apart and not keep:
        what = (
            f"{', '.join(found.apart)}: not all of them list the others as members: one was perhaps removed while away"
        )
        advice = "--keep NODE goes on with the one whose data counts; the others join anew"
        problems.append(Problem(what, "cluster", advice))
    elif len(able) >= found.needed and not keep:
        what = f"{', '.join(able)}: these hosts answer and have their data, and are a majority of {len(found.members)}"
        advice = "let them find each other again: fab status; if that cannot be, --keep NODE goes on with one of them"
        problems.append(Problem(what, "cluster", advice))
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
            f"{len(found.silent)} of {len(found.members)} members, and {found.needed} are a majority"
        )
        flags = " ".join(f"--lost {name}" for name in unnamed)
        problems.append(Problem(what, "cluster", f"bring them back; or, if they are lost for good, add {flags}"))
    others = (node for node in found.cluster.nodes if node.name in unreached and node.address not in found.members)
    problems += [
        Problem(
            "no answer, and no member: its containers may be at work, and others would get their names and addresses",
            node.name,
            f"bring it back; or, if it is lost for good, add --lost {node.name}",
        )
        for node in others
        if node.name not in lost and node.address not in lost
    ]
    return tuple(problems)


def without(cluster: Cluster, silent: Collection[str]) -> tuple[Problem, ...]:
    """Say that the inventory's members are no majority without those that are silent, if some are left."""
    members = cluster.members
    gone = [node.name for node in members if node.name in silent]
    left = len(members) - len(gone)
    if not gone or not left or left >= majority(len(members)):
        return ()
    what = f"{', '.join(gone)}: silent, and {left} of the inventory's {len(members)} members are too few for a quorum"
    return (Problem(what, "cluster", f"bring them back; {ADVICE}"),)


def chosen(found: Outlook, keep: str) -> Node | None:
    """Return the node that is kept: the one of this name, or the best; None if no node has the cluster's data.

    A node that was given up is kept only where it is named.
    """
    named = [one for one in found.standings if one.holds_data and one.node.name == keep]
    return next((one.node for one in (named if keep else found.holders)), None)


def unchosen(found: Outlook, keep: str) -> Problem:
    """Say why no node can be kept."""
    if keep:
        what = f"--keep {keep}: it does not have the cluster's data"
    elif found.returned:
        given_up = ", ".join(f"{name} was given up in the recovery of {when}" for name, when in found.returned.items())
        what = f"no node that answers has the cluster's data as it was in the end: {given_up}"
        advice = "bring back a host that was left then; or --keep NODE goes on from before, and what came after is lost"
        return Problem(what, "cluster", advice)
    else:
        what = "no node has the cluster's data"
    return Problem(what, "cluster", "fab restore FILE sets the cluster up from a backup")


def doubts(found: Outlook, begun: Recovery, holding: Collection[str]) -> tuple[str, ...]:
    """Say what speaks against going on unasked with a recovery that has begun.

    `holding`: the names of nodes that answer and have data of the cluster.
    """
    back = [name for one in begun.lost if (name := found.name_of(one.address)) in holding]
    leading = [one.node.name for one in found.standings if one.has_quorum and one.node != begun.keep]
    said = (
        (back, "back with its data, and given up in the recovery that has begun"),
        (leading, "at work with a quorum, which the recovery that has begun ends"),
    )
    return tuple(f"{', '.join(names)}: {what}" for names, what in said if names)


def would(found: Outlook, recovery: Recovery, doubts: Collection[str] = ()) -> str:
    """Say what a recovery does, and what is lost with that, as it completes "it will …"."""
    keep = recovery.keep.name
    gone = "; ".join(
        f"{one.name} with {', '.join(one.containers) or 'no container that the others know'}" for one in recovery.lost
    )
    others = ", ".join(node.name for node in recovery.others)
    unlisted, unknown = ", ".join(found.unlisted), ", ".join(found.alone_in(recovery.keep))
    given_up = found.returned.get(keep)
    said = (
        f"give up {gone or 'nothing'}, and go on with what {keep} has",
        others
        and f"{others}: the cluster's data there, also what users keep in it, is put aside, and the host joins anew",
        unlisted and f"{unlisted}: the networks that this host knows cannot be listed now",
        unknown and f"{keep} does not know these networks: {unknown}",
        given_up and f"{keep} was given up in the recovery of {given_up}: what came after is lost",
        *doubts,
    )
    return "; ".join(filter(None, said))
