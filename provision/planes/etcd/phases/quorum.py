"""The store's first quorum, and dockerd on it: waited for here, so that other work is done meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision.core.phase import Phase, Wave
from provision.core.plan import Change
from provision.core.situation import Situation
from provision.planes.etcd import membership
from provision.planes.etcd.joining import joined
from provision.planes.etcd.phases.etcd import wait_for_members

if TYPE_CHECKING:
    from provision.core.plane import Coordinator


class Quorum(Phase):
    """It holds nothing. Where the store was at work already, each change was waited for when it was made."""

    name = "quorum"
    waits_for = "the quorum of the store"

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Return every node, if the store was not at work all the time."""
        return () if membership.stays_at_work(situation) else (situation.cluster.nodes,)

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """Each member answers."""
        wait_for_members(coordinator, situation.cluster.members)

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """Every dockerd is on the store."""
        coordinator.remotes.each(joined, wave)
