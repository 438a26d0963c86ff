"""A keeper a network on every node: a container that sleeps, so that the last one never leaves.

When the last container on a node leaves an overlay, Docker 20.10 ends the goroutine that watches it and returns its
thread to the pool still inside the overlay's namespace (libnetwork, drivers/overlay, watchMiss: LockOSThread, setns,
UnlockOSThread, no way back). What runs there next, a connection to the store or a DNS answer, finds no network: the
threads are to be seen with `readlink /proc/$(pidof dockerd)/task/*/ns/net`. With keepers there are none.
"""

from __future__ import annotations

from collections.abc import Callable

from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.phases.networks import changed_networks
from provision.resources import Keeper, Resource, keeper_name


class Keepers(Phase):
    """After the networks: they must be there to be kept."""

    name = "keeper"

    def __init__(self, wait: Callable[[Situation], bool]) -> None:
        """Leave keepers out of the plan where networks `wait`: they cannot be seen yet."""
        self._wait = wait

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return one keeper a network; anew where the network itself is made anew. None where they cannot be seen."""
        if self._wait(situation):
            return ()
        changed = changed_networks(situation)
        return tuple(
            Keeper(
                keeper_name(network.name, node.name), network.name, situation.cluster.probe.image, network in changed
            )
            for network in situation.cluster.networks
        )
