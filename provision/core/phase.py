"""The contract of a phase: what a node should hold, and what has to be so before and after it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision.core.plan import Change
from provision.core.resource import Resource
from provision.core.situation import Situation
from provision.errors import Problem
from provision.inventory.model import Node

if TYPE_CHECKING:
    from provision.core.plane import Coordinator

Wave = tuple[Node, ...]


class Phase:
    """One phase. By default it holds nothing, changes all nodes at once, and waits for nothing."""

    name: str
    #: What a person should know is waited for, where it may take a while.
    waits_for = ""
    #: Whether it takes part in a stage that only prepares the hosts (`Situation.preparing`).
    prepares = False
    #: Seconds that the script on a node may take.
    seconds = 300

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return what a node should hold, in the order in which it is made."""
        return ()

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return what would change that is on no single node."""
        return ()

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Return the nodes that have changes, grouped: each group at once, the groups one after another."""
        return (tuple(node for node in situation.cluster.nodes if changes.get(node.name)),)

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """Wait for what must hold before these nodes change. StepFailed when it does not come to hold."""

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """Wait for what must hold when these nodes have changed."""

    def change_controller(self, situation: Situation) -> Situation:
        """Make what `cluster_changes` names on the controller; return the situation with it."""
        return situation

    def change_cluster(
        self, situation: Situation, coordinator: Coordinator, change: Change
    ) -> tuple[Problem, ...] | None:
        """Carry out one of `cluster_changes`. Return what a person should know of what was done, if anything."""
        return None


def one_by_one(situation: Situation, changes: Mapping[str, Sequence[Change]], unit: str) -> tuple[Wave, ...]:
    """Return waves in which a node that restarts a unit of ours is alone, and all others go first, at once.

    Nodes without a member come between the first member and the others: where authorities are being replaced, members
    of both kinds are there then, and each daemon finds one that it trusts.
    """
    touched = [node for node in situation.cluster.nodes if changes.get(node.name)]
    alone = [
        node
        for node in touched
        if situation.of(node).unit(unit).inputs and any(change.restarts for change in changes[node.name])
    ]
    together = tuple(node for node in touched if node not in alone)
    alone.sort(key=lambda node: (node != situation.cluster.members[0], node.member))
    return ((together,) if together else ()) + tuple((node,) for node in alone)
