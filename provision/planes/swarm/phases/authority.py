"""The swarm's authority, replaced by Docker: every node gets a new certificate, and no container notices."""

from __future__ import annotations

from functools import partial

from provision import waiting
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.docker.client import asked
from provision.errors import Unanswered
from provision.planes.swarm import validity, view
from provision.planes.swarm.coordinator import ADVICE, SwarmCoordinator, opened
from provision.planes.swarm.local import local

#: A day, as Docker's API counts: in nanoseconds.
DAY = 86_400 * 10**9
#: How many days the first certificates of a swarm last.
FIRST_DAYS = 90


class Authority(Phase):
    """Docker makes the authority and every certificate anew: for a rotation, and where another life is asked for.

    The first certificates of a swarm last 90 days, whatever is asked for.
    """

    name = "authority"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the replacement: the managers trust the authority that is to go, or leaves have another life."""
        days, replaced = situation.cluster.certificate_days, local(situation).replaced
        rotates = bool(replaced) and validity.authority(situation) == replaced
        first = days not in (None, FIRST_DAYS) and not any(view.active(situation))
        if not (rotates or first or (days and validity.differs(situation, days))):
            return ()
        lasting = f", for {days} days" if days else ""
        note = f"Docker makes each node's certificate anew{lasting}; no container stops"
        return (Change(CLUSTER, self.name, "the swarm's authority", "replace", note=note),)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Let Docker begin, and wait until every node trusts the new authority alone. StepFailed."""
        door = opened(coordinator)
        begin = partial(_begin, door, situation.cluster.certificate_days)
        waiting.until(lambda: asked(begin), "Docker makes a new authority", "cluster", ADVICE)
        waiting.until(lambda: _is_done(door), "every node has a certificate of the new authority", "cluster", ADVICE)


def _begin(door: SwarmCoordinator, days: int | None) -> None:
    """Ask for new certificates, unless a run before has: those that are made would be made again."""
    api = door.manager().api
    swarm = api.inspect_swarm()
    there = swarm["Spec"]["CAConfig"]
    wanted = {**there, "NodeCertExpiry": days * DAY} if days else there
    if not swarm["RootRotationInProgress"] or wanted != there:
        wanted = {**wanted, "ForceRotate": there.get("ForceRotate", 0) + 1}
        api.update_swarm(swarm["Version"]["Index"], {**swarm["Spec"], "CAConfig": wanted})


def _is_done(door: SwarmCoordinator) -> None:
    api = door.manager().api
    if asked(api.inspect_swarm)["RootRotationInProgress"]:
        silent = [one["Description"]["Hostname"] for one in asked(api.nodes) if not view.is_ready(one)]
        told = f", and the managers do not hear from {', '.join(silent)}" if silent else ""
        raise Unanswered(f"nodes have certificates of the old authority{told}")
