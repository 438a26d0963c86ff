"""Nodes that leave the swarm's list: lost ones before others join, living ones when their replacements are there."""

from __future__ import annotations

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.planes.swarm import leaving, node_changes, view
from provision.planes.swarm.coordinator import opened
from provision.planes.swarm.view import Listed


class Removal(Phase):
    """Entries that are struck off the managers' list, one at a time. A host is never shut out without consent."""

    note: str

    def entries(self, situation: Situation) -> tuple[Listed, ...]:
        """Return those that this phase strikes off."""
        raise NotImplementedError

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return a change for each entry."""
        return tuple(self._change(situation, one) for one in self.entries(situation))

    def _change(self, situation: Situation, entry: Listed) -> Change:
        role = "manager" if entry.manager else "worker"
        return Change(
            CLUSTER,
            self.name,
            f"{entry.hostname} {entry.identity[:12]} in the swarm",
            "remove",
            note=f"{role}, {self.note}; the join tokens are made anew",
            consent=_consent(situation, entry, role),
        )

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Strike the entry off."""
        entry = next(one for one in self.entries(situation) if self._change(situation, one) == change)
        absent = leaving.host(situation, entry) in situation.cluster.absent
        node_changes.remove(opened(coordinator), entry.identity, entry.hostname, leaves_itself=absent)


def _consent(situation: Situation, entry: Listed, role: str) -> str:
    """Return what a person has to agree to. A host that the inventory calls absent was asked for when it leaves; a node
    that is in the swarm again has nothing to lose with its former entry."""
    host = leaving.host(situation, entry)
    removed = f"remove {entry.hostname} ({entry.address}), a {role}, from the swarm for good"
    if host is None:
        return removed
    if host in situation.cluster.absent or view.daemon(situation.of(host)).state == "active":
        return ""
    return (
        f"{removed}, and let it join anew, for its Docker knows of no swarm "
        "(a new machine, or lost data; or is a disk not mounted there?)"
    )


class Lost(Removal):
    """Nodes that do not answer: a manager among them counts against the majority until it is struck off."""

    name = "lost"
    note = "which does not answer"

    def entries(self, situation: Situation) -> tuple[Listed, ...]:
        """Return those that do not answer."""
        return leaving.lost(situation)


class Leave(Removal):
    """Nodes that answer."""

    name = "leave"
    note = "which answers"

    def entries(self, situation: Situation) -> tuple[Listed, ...]:
        """Return those that answer."""
        return leaving.living(situation)
