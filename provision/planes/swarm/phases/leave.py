"""Nodes that leave the swarm's list: lost ones before others join, living ones when their replacements are there."""

from __future__ import annotations

from collections.abc import Sequence

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.planes.swarm import leaving, node_changes
from provision.planes.swarm.coordinator import opened
from provision.planes.swarm.view import Listed


class Removal(Phase):
    """Entries that are struck off the managers' list, one at a time. A host is never shut out without consent."""

    note: str

    def entries(self, found: Sequence[Listed]) -> Sequence[Listed]:
        """Return those that this phase strikes off."""
        raise NotImplementedError

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return a change for each entry."""
        return tuple(self._change(situation, one) for one in self.entries(leaving.entries(situation)))

    def _change(self, situation: Situation, entry: Listed) -> Change:
        role = "manager" if entry.manager else "worker"
        name = f"{entry.hostname} ({entry.address}), a {role}"
        # The plan asks for a host that the inventory says is absent when it leaves, and for a node's former life never.
        unasked = leaving.host(situation, entry) is not None
        return Change(
            CLUSTER,
            self.name,
            f"{entry.hostname} {entry.identity[:12]} in the swarm",
            "remove",
            note=f"{role}, {self.note}; the join tokens are made anew",
            consent="" if unasked else f"remove {name}, from the swarm for good",
        )

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Strike the entry off."""
        entries = self.entries(leaving.entries(situation))
        entry = next(one for one in entries if self._change(situation, one) == change)
        absent = leaving.host(situation, entry) in situation.cluster.absent
        node_changes.remove(opened(coordinator), entry.identity, entry.hostname, leaves_itself=absent)


class Lost(Removal):
    """Nodes that do not answer: a manager among them counts against the majority until it is struck off."""

    name = "lost"
    note = "which does not answer"

    def entries(self, found: Sequence[Listed]) -> Sequence[Listed]:
        """Return those that do not answer."""
        return [one for one in found if not one.ready]


class Leave(Removal):
    """Nodes that answer."""

    name = "leave"
    note = "which answers"

    def entries(self, found: Sequence[Listed]) -> Sequence[Listed]:
        """Return those that answer."""
        return [one for one in found if one.ready]
