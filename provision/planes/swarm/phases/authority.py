"""The swarm's authority, replaced by Docker: every node gets a new certificate, and no container notices."""

from __future__ import annotations

from provision import waiting
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.docker.client import asked, retry
from provision.errors import Unanswered
from provision.planes.swarm import validity
from provision.planes.swarm.coordinator import ADVICE, SwarmCoordinator, opened
from provision.planes.swarm.local import local


class Authority(Phase):
    """It changes nothing but for a rotation."""

    name = "authority"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the replacement, as long as the managers trust the authority that is to go."""
        replaced = local(situation).replaced
        if not replaced or validity.authority(situation) != replaced:
            return ()
        note = "Docker makes each node's certificate anew; no container stops"
        return (Change(CLUSTER, self.name, "the swarm's authority", "replace", note=note),)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Let Docker begin, and wait until every node trusts the new authority alone. StepFailed."""
        door = opened(coordinator)
        retry(lambda: _begin(door), "Docker makes a new authority", "the swarm")
        waiting.until(lambda: _is_done(door), "every node has a certificate of the new authority", "cluster", ADVICE)


def _begin(door: SwarmCoordinator) -> None:
    api = door.manager().api
    swarm = api.inspect_swarm()
    spec = swarm["Spec"]
    turns = spec.get("CAConfig", {}).get("ForceRotate", 0)
    api.update_swarm(swarm["Version"]["Index"], {**spec, "CAConfig": {**spec["CAConfig"], "ForceRotate": turns + 1}})


def _is_done(door: SwarmCoordinator) -> None:
    if asked(door.manager().api.inspect_swarm)["RootRotationInProgress"]:
        raise Unanswered("nodes have certificates of the old authority")
