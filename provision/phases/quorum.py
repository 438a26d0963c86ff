"""The store's first quorum: waited for here, so that other work is done while its members elect a leader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from provision import layout, membership
from provision.errors import Problem, StepFailed
from provision.node import library
from provision.phases import Phase, Wave
from provision.plan import Change
from provision.resources import Service
from provision.situation import Situation

if TYPE_CHECKING:
    from provision.api import Clients
    from provision.remote import Remote

#: As systemd waits for a unit by default: etcd says that it is ready when it knows its leader.
START_SECONDS = 90


class Quorum(Phase):
    """It holds nothing. Where the store was at work already, each change was waited for when it was made."""

    name = "quorum"

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Return every member, if the store was not at work before."""
        return () if membership.is_running(situation) else (situation.cluster.members,)

    def before(self, situation: Situation, clients: Clients, wave: Wave) -> None:
        """Wait for the starts under way, then for an answer of each. StepFailed with the journal's end."""
        clients.remotes.each(_started, wave)
        clients.wait_for_members(wave)


def _started(remote: Remote) -> None:
    start = Service(layout.ETCD_UNIT, (), START_SECONDS).start()
    result = remote.run(f"{library()}\n{start}\n", timeout=START_SECONDS + 30, changes=True)
    if result.code:
        what = f"start unit {layout.ETCD_UNIT} failed: {result.stderr.strip()[-1500:]}"
        advice = "mend the cause, run provision again: it goes on here"
        raise StepFailed(Problem(what, f"{remote.node.name}, phase etcd", advice))
