"""The image that keeps networks and proves them."""

from __future__ import annotations

from collections.abc import Callable

from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.resources import Image, Resource


class Images(Phase):
    """A dockerd without the store takes it, too: it is loaded while the store elects its leader."""

    name = "image"

    def __init__(self, wait: Callable[[Situation], bool] = lambda _: False) -> None:
        """Leave images out of the plan where they `wait`: Docker is not started yet."""
        self._wait = wait

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the probe's image, where the inventory brings it."""
        probe = situation.cluster.probe
        if self._wait(situation):
            return ()
        return (Image(probe.image, probe.archive),) if probe.archive else ()
