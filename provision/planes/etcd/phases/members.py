"""Members that leave the store: lost ones before anything is added, living ones when their replacements vote."""

from __future__ import annotations

from provision.core.membership import Member, Membership
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.planes.etcd import member_changes, membership, paths
from provision.planes.etcd.coordinator import opened

#: What the plan says of a member without data, and what a person has to know before it is removed.
REPLACED = "which has none of its data; it joins anew"
#: What the plan says of a member whose host has another address in the inventory.
MOVED = "which moves to another address; it joins anew"
EMPTY = (
    f" and let it join anew, for its host has none of its data in {paths.DATA} "
    "(a new machine, or lost data; or is a disk not mounted there?)"
)


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
            note=f"{member.url}, {REPLACED if member.replaced else MOVED if member.moved else self.note}",
            consent=f"remove the member {member} ({member.url}) from the store" + (EMPTY if member.replaced else ""),
        )

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Remove the member; its etcd ends by itself. Nothing is heard of the others that do not answer."""
        removed = self._removed(situation)
        member = next(one for one in removed if self._change(one) == change)
        silent = frozenset(one.url for one in removed if not one.healthy)
        member_changes.remove(opened(coordinator), member.url, str(member), silent)


class Lost(Removal):
    """Members that do not answer, unwanted or without data: etcd adds none while one of them is in the list.

    And members whose host joins at another address, where its etcd starts anew.
    """

    name = "lost"
    note = "which does not answer"

    def members(self, found: Membership) -> tuple[Member, ...]:
        """Return those that do not answer, never voted, or whose host has to join anew."""
        return found.lost


class Leave(Removal):
    """Members that are not wanted and answer."""

    name = "leave"
    note = "which answers; its etcd ends"

    def members(self, found: Membership) -> tuple[Member, ...]:
        """Return those that answer."""
        return found.leaving
