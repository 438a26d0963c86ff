"""Keepers: on every node, a sleeping container on each network, so that the last container never leaves.

When the last container on a node leaves an overlay, Docker 20.10 ends the goroutine that watches the overlay. Its
thread returns to the pool in the overlay's network namespace (libnetwork, drivers/overlay, watchMiss: LockOSThread,
setns, UnlockOSThread, without a way back). Whatever runs on that thread next, such as a connection to the cluster or a
DNS answer, has no network. `readlink /proc/$(pidof dockerd)/task/*/ns/net` shows such threads. With keepers there are
none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.facts import Container
from provision.inventory.model import Node
from provision.phases.networks import changed_networks
from provision.resources import KEEPER, Keeper, OldKeeper, Resource, keeper_name


class Keepers(Phase):
    """Keepers come after the networks, which must exist."""

    name = "keeper"

    def __init__(self, wait: Callable[[Situation], bool]) -> None:
        """`wait` returns whether keepers are left out of the plan, because networks cannot be seen yet."""
        self._wait = wait

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return a keeper for each network; a new one if its network is recreated. Then each keeper that is no longer
        wanted: the node was renamed, or the network is gone. None if networks cannot be seen.
        """
        if self._wait(situation):
            return ()
        changed, image = changed_networks(situation), situation.cluster.probe.image
        wanted = {keeper_name(network.name, node.name): network for network in situation.cluster.networks}
        return (
            *(Keeper(name, network.name, image, network in changed) for name, network in wanted.items()),
            *(OldKeeper(one.name) for one in _keepers(situation, node) if one.name not in wanted),
        )


def _keepers(situation: Situation, node: Node) -> Iterator[Container]:
    """Yield the keepers on a node, but those of networks that are about to be removed, which go with them."""
    for one in situation.of(node).every_container:
        if KEEPER in one.labels and one.labels[KEEPER] not in situation.dropped:
            yield one
