"""What Docker holds: images, keepers, and the bridge out of its overlays."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision.core.resource import UPLOADS, Difference, Upload, call
from provision.facts import Facts, Question

#: The bridge by which containers of an overlay leave their host.
GATEWAY_BRIDGE = "docker_gwbridge"

#: Label of the containers that keep a network in use, and how their names begin.
KEEPER = "overlay-keeper"


def keeper_name(network: str, node: str) -> str:
    """Return the name of a network's keeper on a node."""
    return f"{KEEPER}-{network}-{node}"


@dataclass(frozen=True)
class Image:
    """An image that Docker holds, loaded from an archive where it does not."""

    image: str
    archive: pathlib.Path

    @property
    def name(self) -> str:
        """`image NAME`."""
        return f"image {self.image}"

    def question(self) -> Question:
        """Ask whether it is there."""
        return Question(images=(self._tagged,))

    @property
    def _tagged(self) -> str:
        # With its tag a name can be no identifier's beginning.
        return self.image if ":" in self.image.rpartition("/")[2] else f"{self.image}:latest"

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it is there: whose it is, is not ours to judge."""
        there = self.image.removesuffix(":latest") in facts.images
        return None if there else Difference("load", note=f"from {self.archive.name}")

    def remember(self) -> str:
        """That it was not there."""
        return call("remember_image", self.image)

    def upload(self) -> Upload:
        """The archive."""
        return Upload(self.archive, f"{UPLOADS}/image.tar")

    def apply(self, difference: Difference) -> str:
        """Load it and drop the archive."""
        path = self.upload().path
        load = call("docker", "load", "-q", "-i", path)
        complaint = call("die", f"docker cannot load {self.archive.name}")
        return f"{load} >/dev/null || {complaint}\nrm -f {path}"


@dataclass(frozen=True)
class Keeper:
    """A container that sleeps on a network: see phases/keepers.py. `anew` where its network is about to be replaced."""

    container: str
    network: str
    image: str
    anew: bool = False

    @property
    def name(self) -> str:
        """`container NAME`."""
        return f"container {self.container}"

    def question(self) -> Question:
        """Nothing: containers and their networks are always asked for."""
        return Question()

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it runs, on its network."""
        there = any(one.name == self.container and self.network in one.networks for one in facts.containers)
        return (
            None if there and not self.anew else Difference("create", note=f"keeps network {self.network} in use here")
        )

    def remember(self) -> str:
        """Nothing: reset removes it by its label."""
        return ""

    def upload(self) -> Upload | None:
        """Nothing."""
        return None

    def apply(self, difference: Difference) -> str:
        """Start one, in place of any that does not run."""
        return call("put_keeper", self.container, self.network, self.image)


@dataclass(frozen=True)
class GatewayBridge:
    """docker_gwbridge, which Docker would make with the first container on an overlay, while that one waits.

    With a subnet where Docker's own choice is in use: see subnets.gateway_bridge.
    """

    subnet: IPv4Network | None = None

    @property
    def name(self) -> str:
        """`network docker_gwbridge`."""
        return f"network {GATEWAY_BRIDGE}"

    def question(self) -> Question:
        """Nothing: networks are always asked for."""
        return Question()

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it is there, wherever: containers that use it would lose their way out."""
        there = any(network["Name"] == GATEWAY_BRIDGE for network in facts.networks)
        # A Docker that is not asked may have one already; a subnet was chosen because it must not choose.
        if there or not (facts.docker_answers or self.subnet):
            return None
        return Difference("create", note=f"bridge, {self.subnet} (chosen)" if self.subnet else "bridge")

    def remember(self) -> str:
        """That it was not there."""
        return call("remember_network", GATEWAY_BRIDGE)

    def upload(self) -> Upload | None:
        """Nothing."""
        return None

    def apply(self, difference: Difference) -> str:
        """Make it."""
        return call("put_gateway_bridge", *([str(self.subnet)] if self.subnet else []))
