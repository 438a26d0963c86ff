"""The store's first quorum, and dockerd on it: waited for here, so that other work is done meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision import membership
from provision.phases import Phase, Wave
from provision.phases.docker import joined
from provision.phases.etcd import wait_for_members
from provision.plan import Change
from provision.situation import Situation

if TYPE_CHECKING:
    from provision.api import Clients


class Quorum(Phase):
    """It holds nothing. Where the store was at work already, each change was waited for when it was made."""

    name = "quorum"
    waits_for = "the quorum of the store"

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Return every node, if the store was not at work all the time."""
        return () if membership.stays_at_work(situation) else (situation.cluster.nodes,)

    def before(self, situation: Situation, clients: Clients, wave: Wave) -> None:
        """Each member answers."""
        wait_for_members(clients, situation.cluster.members)

    def after(self, situation: Situation, clients: Clients, wave: Wave) -> None:
        """Every dockerd is on the store."""
        clients.remotes.each(joined, wave)
