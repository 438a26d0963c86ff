"""Warnings about an inventory that is valid but has disadvantages."""

from __future__ import annotations

from collections.abc import Iterator

from provision.errors import Problem
from provision.inventory.model import Cluster

MANY_MEMBERS = 7
"""Members. etcd's FAQ advises against more, and so do Docker's documents: every write waits for a majority."""

MANY_NODES = 20
"""Nodes that this program is made for."""


def warnings(cluster: Cluster) -> tuple[Problem, ...]:
    """Return the warnings about the inventory."""
    return tuple(Problem(what, str(cluster.path), advice) for what, advice in _cautions(cluster))


def _cautions(cluster: Cluster) -> Iterator[tuple[str, str]]:
    members = len(cluster.members)
    if members <= 2:
        which = "that member is" if members == 1 else "either of its two members is"
        what = f"while {which} down, no container can join a network"
        yield what, "add a third node: any one of three may be down"
    elif members % 2 == 0:
        what = f"{members} members survive the loss of {(members - 1) // 2}, like {members - 1} members"
        yield what, "use an odd number: write `member: false` at one node, or `member: true` at one more"
    if members > MANY_MEMBERS:
        yield f"{members} members: each write waits for {members // 2 + 1}", "use three or five members"
    if len(cluster.nodes) > MANY_NODES:
        yield f"{len(cluster.nodes)} nodes: more than {MANY_NODES} were not tried", "expect slow plans"
