"""The image of keepers and probes."""

from __future__ import annotations

from collections.abc import Callable

from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.resources import Image, Resource


class Images(Phase):
    """The image is loaded while the cluster elects its leader: dockerd can load it before it is in the cluster."""

    name = "image"

    def __init__(self, wait: Callable[[Situation], bool] = lambda _: False) -> None:
        """`wait` returns whether images are left out of the plan, because Docker is not started yet."""
        self._wait = wait

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the probe's image, if the inventory names its archive."""
        probe = situation.cluster.probe
        if self._wait(situation):
            return ()
        return (Image(probe.image, probe.archive),) if probe.archive else ()
