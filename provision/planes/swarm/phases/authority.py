"""The swarm's authority, replaced by Docker: every node gets a new certificate, and no container notices."""

from __future__ import annotations

from provision import waiting
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.docker.client import asked, retry
from provision.errors import Unanswered
from provision.inventory.model import Cluster
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
        note = "Docker makes each node's certificate anew; no container stops"
        lasting = f", which lasts {days} days" if days else ""
        return (Change(CLUSTER, self.name, "the swarm's authority", "replace", note=f"{note}{lasting}"),)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Let Docker begin, and wait until every node trusts the new authority alone. StepFailed."""
        door = opened(coordinator)
        retry(lambda: _begin(door, situation.cluster), "Docker makes a new authority", "the swarm")
        waiting.until(lambda: _is_done(door), "every node has a certificate of the new authority", "cluster", ADVICE)


def _begin(door: SwarmCoordinator, cluster: Cluster) -> None:
    api = door.manager().api
    swarm = api.inspect_swarm()
    spec = swarm["Spec"]
    wanted = {**spec["CAConfig"], "ForceRotate": spec["CAConfig"].get("ForceRotate", 0) + 1}
    if cluster.certificate_days:
        wanted["NodeCertExpiry"] = cluster.certificate_days * DAY
    api.update_swarm(swarm["Version"]["Index"], {**spec, "CAConfig": wanted})


def _is_done(door: SwarmCoordinator) -> None:
    if asked(door.manager().api.inspect_swarm)["RootRotationInProgress"]:
        raise Unanswered("nodes have certificates of the old authority")
