"""Raft's arithmetic, in one place: from the members that the cluster lists, not from the inventory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


def majority(members: int) -> int:
    """Return how many of so many voting members have to agree."""
    return members // 2 + 1


def spare(members: int, healthy: int) -> int:
    """Return how many more of the healthy members may be lost before no majority is left; negative where none is."""
    return healthy - majority(members)


@dataclass(frozen=True)
class Member:
    """A member as the cluster lists it. `url` is where other members reach it, and tells members apart."""

    url: str
    name: str = ""
    votes: bool = True
    healthy: bool = True
    #: Nothing of it is left where it is: it has to go, and to come anew under its URL.
    replaced: bool = False
    #: Its host is wanted under another URL: it has to go, for the host to come anew.
    moved: bool = False

    def __str__(self) -> str:
        """Return the name, or the URL of a member that was added and never started."""
        return self.name or self.url


@dataclass(frozen=True)
class Step:
    """One change of the membership."""

    action: Literal["remove", "add"]
    member: Member


@dataclass(frozen=True)
class Membership:
    """The members that the cluster lists, and those wanted."""

    found: tuple[Member, ...]
    wanted: tuple[Member, ...]

    @property
    def voters(self) -> tuple[Member, ...]:
        """The members that vote."""
        return tuple(member for member in self.found if member.votes)

    @property
    def unwanted(self) -> tuple[Member, ...]:
        """The members that are to leave."""
        urls = {member.url for member in self.wanted}
        return tuple(member for member in self.found if member.url not in urls)

    @property
    def lost(self) -> tuple[Member, ...]:
        """The members that go before anything is added: replaced ones, and unwanted that are not in `leaving`."""
        return (*self.replaced, *(member for member in self.unwanted if member not in self.leaving))

    @property
    def replaced(self) -> tuple[Member, ...]:
        """The members that are wanted, and have to go and to come anew."""
        return tuple(member for member in self.found if member.replaced)

    @property
    def leaving(self) -> tuple[Member, ...]:
        """The members that are to leave and answer: they go when their replacements vote."""
        unwanted = (member for member in self.unwanted if not member.moved)
        return tuple(member for member in unwanted if member.healthy and member.votes)

    @property
    def joining(self) -> tuple[Member, ...]:
        """The members that are wanted and do not vote yet, or have to come anew."""
        voting = {member.url for member in self.voters if not member.replaced}
        return tuple(member for member in self.wanted if member.url not in voting)

    def steps(self) -> tuple[Step, ...]:
        """Return every change in an order that keeps a majority of voters alive as long as there is such an order.

        No member is added while a voter is unreachable, so lost ones go first. The order of a control plane's phases
        makes the changes; a test compares a plan with these steps.
        """
        return (
            *(Step("remove", member) for member in self.lost),
            *(Step("add", member) for member in self.joining),
            *(Step("remove", member) for member in self.leaving),
        )

    def obstacle(self) -> str:
        """Say after which step no majority of the voters would be alive; empty where there is no such step."""
        voters = {member.url: member.healthy for member in self.voters}
        for step in self.steps():
            before = _alive(voters)
            if step.action == "add" and not all(voters.values()):
                silent = ", ".join(str(member) for member in self.voters if not voters.get(member.url, True))
                return f"no member can be added while {silent} does not answer"
            if step.action == "add":
                voters[step.member.url] = True
            else:
                voters.pop(step.member.url, None)
            if before >= 0 > _alive(voters):
                alive = sum(voters.values())
                return (
                    f"without {step.member} only {alive} of {len(voters)} members would be alive, "
                    f"and {majority(len(voters))} have to agree"
                )
        return ""


def _alive(voters: dict[str, bool]) -> int:
    return spare(len(voters), sum(voters.values()))
