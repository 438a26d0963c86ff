"""Swarm mode as a restore uses it: the saved swarm is set up on the first manager, and the other nodes join it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from provision.backup.record import MARK
from provision.core.phase import Phase
from provision.core.plane import Goal, Stage, after_preparation, as_it_is
from provision.core.recovery import Standing
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.errors import BackupError, Problem
from provision.facts import Question, join
from provision.inventory.model import Node
from provision.phases.installation import Installation
from provision.phases.keepers import Keepers
from provision.phases.networks import Networks
from provision.planes.swarm import view
from provision.planes.swarm.phases.leave import Removal
from provision.planes.swarm.phases.mend import Mend
from provision.planes.swarm.phases.recover import Containers, FormerSwarm
from provision.planes.swarm.phases.restored import (
    Aside,
    MendLast,
    RestoredSwarm,
    is_former,
    takes_part,
    without_former,
)
from provision.planes.swarm.phases.swarm import Swarm
from provision.planes.swarm.plane import SwarmPlane
from provision.planes.swarm.saving import SavedManager, read


class Restoring(SwarmPlane):
    """The swarm of a backup."""

    def __init__(self, saved: Saved) -> None:
        """Take what was saved. BackupError if it is not whole."""
        self._saved = saved
        try:
            self._manager = read(saved.files)
        except ValueError as error:
            what = f"the backup has no whole copy of a swarm's manager: {error}"
            raise BackupError(Problem(what, "backup", "name another backup; nothing was changed")) from error
        self.phases = tuple(_phases(saved, self._manager))

    def question(self, situation: Situation, node: Node) -> Question:
        """Ask, beside all else, how far a node is with the restore, and what is in a swarm that is at work."""
        own = Question(paths=(MARK,), shown=(MARK,), slow_calls=("fact_swarm_contents",))
        return join([super().question(situation, node), own])

    def standings(self, situation: Situation) -> tuple[Standing, ...]:
        """Return what each node is to a former swarm: nothing, where it takes part in this restore."""
        return tuple(
            Standing(one.node)
            if takes_part(situation, one.node, self._saved)
            else replace(one, contents=_contents(situation, one.node))
            for one in super().standings(situation)
        )

    def stages(self, situation: Situation, goal: Goal) -> tuple[Stage, ...]:
        """Return a stage that puts former swarms aside, where there is one, and the one that sets the saved one up."""
        following = (Stage(as_it_is),)
        if not any(is_former(situation, node, self._saved) for node in situation.cluster.nodes):
            return following
        title = "the saved swarm is set up"
        return after_preparation(following, title, lambda now: without_former(now, self._saved))

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say why Docker would not take up the saved swarm."""
        return tuple(filter(None, (self._ended(datetime.now(UTC)), self._another_port(situation))))

    def _ended(self, now: datetime) -> Problem | None:
        end = self._manager.end
        if end > now:
            return None
        what = (
            f"the certificate of the saved manager has ended on {end:%Y-%m-%d %H:%M} UTC: Docker does not start with it"
        )
        advice = "name a later backup; or fab provision makes a new swarm, with the inventory's networks"
        return Problem(what, "backup", advice)

    def _another_port(self, situation: Situation) -> Problem | None:
        there, wanted = self._manager.port, situation.cluster.vxlan_port
        if there in (None, wanted):
            return None
        what = f"overlay.vxlan_port is {wanted}, but the saved swarm was made with {there}, and Docker cannot change it"
        return Problem(what, "cluster", f"write `vxlan_port: {there}`")


def _contents(situation: Situation, node: Node) -> tuple[str, ...]:
    """Return what users have in the swarm that a node manages, in words: nodes that the inventory lacks too."""
    facts = situation.of(node)
    known = {one.address for one in situation.cluster.hosts}
    listed = map(view.entry, facts.docker.get(view.NODES) or ())
    others = [one.hostname for one in listed if one.ready and one.address not in known]
    named = [line.split(maxsplit=1) for line in facts.answers.get("swarm-contents", "").splitlines()]
    kinds = {
        "nodes": others,
        **{f"{kind}s": [words[1] for words in named if words[0] == kind] for kind in ("service", "secret", "config")},
    }
    found = tuple(f"{kind} {', '.join(sorted(names))}" for kind, names in kinds.items() if names)
    unseen = [f"{words[1]}s that Docker does not list" for words in named if words[0] == "unseen"]
    return (*found, *unseen) if view.NODES in facts.docker else found


def _phases(saved: Saved, manager: SavedManager) -> Iterator[Phase]:
    """Yield the plane's phases, and those of a restore. Nothing waits for networks: the saved ones are known.

    Entries of former nodes are struck off where the saved swarm is set up. Containers come back as in the backup.
    """
    for phase in SwarmPlane.phases:
        if isinstance(phase, Swarm):
            yield RestoredSwarm(saved, manager)
        elif isinstance(phase, Mend):
            yield MendLast()
        elif isinstance(phase, (Networks, Keepers)):
            yield type(phase)(lambda _: False)
        elif not isinstance(phase, (Removal, FormerSwarm, Containers)):
            yield phase
        if isinstance(phase, Installation):
            yield Aside(saved)
