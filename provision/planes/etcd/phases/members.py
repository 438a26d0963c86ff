"""Members that leave the store: lost ones before anything is added, living ones when their replacements vote."""

from __future__ import annotations

from provision.core.membership import Member, Membership
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.planes.etcd import joining, membership
from provision.planes.etcd.coordinator import opened


class Removal(Phase):
    """Members that are removed from the store's list, one at a time. Never without consent."""

    note: str

    def members(self, found: Membership) -> tuple[Member, ...]:
        """Return the members that this phase removes."""
        raise NotImplementedError

    def _removed(self, situation: Situation) -> tuple[Member, ...]:
        return self.members(membership.membership(situation)) if membership.is_running(situation) else ()

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return a change for each member."""
        return tuple(map(self._change, self._removed(situation)))

    def _change(self, member: Member) -> Change:
        return Change(
            CLUSTER,
            self.name,
            f"member {member}",
            "remove",
            note=f"{member.url}, {self.note}",
            consent=f"remove the member {member} ({member.url}) from the store",
        )

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Remove the member; its etcd ends by itself."""
        member = next(one for one in self._removed(situation) if self._change(one) == change)
        joining.remove(opened(coordinator), member.url, str(member))


class Lost(Removal):
    """Members that are not wanted and do not answer: etcd adds none while one of them is in the list."""

    name = "lost"
    note = "which does not answer"

    def members(self, found: Membership) -> tuple[Member, ...]:
        """Return those that do not answer, or never voted."""
        return found.lost


class Leave(Removal):
    """Members that are not wanted and answer."""

    name = "leave"
    note = "which answers; its etcd ends"

    def members(self, found: Membership) -> tuple[Member, ...]:
        """Return those that answer."""
        return found.leaving
