"""The endpoints of hosts that are gone are freed: their names, aliases, addresses and networks can be used again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from provision import waiting
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.resource import call
from provision.core.situation import Situation
from provision.errors import Problem, StepFailed
from provision.inventory.model import Node
from provision.node import library
from provision.planes.etcd import paths, strangers
from provision.planes.etcd.coordinator import OF_NETWORKS, EtcdCoordinator, opened
from provision.planes.etcd.node import functions
from provision.planes.etcd.strangers import Endpoint
from provision.resources import KEEPER


class Strangers(Phase):
    """After the phase of dockerd, because a dockerd frees them; before that of keepers, which may need a name."""

    name = "strangers"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return a change for each host that is gone."""
        return tuple(_change(situation, host, found) for host, found in strangers.to_free(situation).items())

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Free each endpoint by its name, by a dockerd: if its key were deleted, its address would stay taken."""
        freed = (
            found for host, found in strangers.to_free(situation).items() if _change(situation, host, found) == change
        )
        for endpoint in next(freed):
            nodes = order(situation.cluster.nodes, situation, endpoint)
            attempt = partial(free, opened(coordinator), nodes, endpoint)
            what = f"Docker frees the endpoint of {endpoint.name}"
            waiting.until(attempt, what, CLUSTER, f"journalctl -u docker; then {paths.ADVICE}")


def _change(situation: Situation, host: str, found: tuple[Endpoint, ...]) -> Change:
    users = tuple(one for one in found if not one.name.startswith(KEEPER))
    asked = f"free the endpoints of {host}, which is no node and does not answer ({strangers.named(situation, users)})"
    names = strangers.named(situation, found)
    return Change(CLUSTER, Strangers.name, f"endpoints of {host}", "free", note=names, consent=asked if users else "")


def order(nodes: Sequence[Node], situation: Situation, endpoint: Endpoint) -> Sequence[Node]:
    """Return the nodes; those that run a container of this name come last, because it is renamed for a moment."""

    def has_name(node: Node) -> bool:
        return any(one.name == endpoint.name for one in situation.of(node).containers)

    return sorted(nodes, key=has_name)


def freeing(endpoint: Endpoint) -> str:
    """Return the script that lets a node compare the ID and free the endpoint."""
    return "\n".join(
        (
            functions("mend"),
            library(),
            functions("store"),
            functions("mend_endpoints"),
            call("free", endpoint.network, endpoint.name, endpoint.identity),
        )
    )


def free(coordinator: EtcdCoordinator, nodes: Sequence[Node], endpoint: Endpoint) -> None:
    """Let one node after another free the endpoint. StepFailed if it is still there afterwards."""
    key = f"{OF_NETWORKS}/{endpoint.network}/{endpoint.identity}"
    told = []
    for node in nodes:
        if coordinator.store().get(key) is None:
            return
        what = f"freeing the endpoint of {endpoint.name}"
        result = coordinator.remotes[node.name].run(freeing(endpoint), changes=True, what=what)
        told += [f"; {node.name}: {result.stderr.strip()[-400:]}"] if result.code else []
    if coordinator.store().get(key) is not None:
        raise StepFailed(Problem(f"the endpoint of {endpoint.name} is still in the store{''.join(told)}", CLUSTER))
