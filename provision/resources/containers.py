"""Docker's resources: images, keepers, and docker_gwbridge."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision.core.resource import UPLOADS, Difference, Resource, Upload, call
from provision.docker.archive import normal
from provision.facts import Facts, Question

#: The bridge through which containers of an overlay reach networks outside it.
GATEWAY_BRIDGE = "docker_gwbridge"

#: The label of keepers (containers that keep a network in use), and the beginning of their names.
KEEPER = "overlay-keeper"


def keeper_name(network: str, node: str) -> str:
    """Return the name of a network's keeper on a node."""
    return f"{KEEPER}-{network}-{node}"


@dataclass(frozen=True)
class Image(Resource):
    """An image that Docker has, loaded from an archive if it is missing."""

    image: str
    archive: pathlib.Path

    @property
    def name(self) -> str:
        """`image NAME`."""
        return f"image {self.image}"

    def question(self) -> Question:
        """Ask whether the image is there. Docker could take a name without a tag for the beginning of an image's ID."""
        return Question(images=(normal(self.image),))

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if there is no image of this name. A user's own image of this name is accepted."""
        return None if facts.has_image(self.image) else Difference("load", note=f"from {self.archive.name}")

    def remember(self) -> str:
        """Record that the image was not there."""
        return call("remember_image", self.image)

    def upload(self) -> Upload:
        """Return the archive."""
        return Upload(self.archive, f"{UPLOADS}/image.tar")

    def apply(self, difference: Difference) -> str:
        """Load the image and remove the uploaded archive."""
        path = self.upload().path
        load = call("docker", "load", "-q", "-i", path)
        complaint = call("die", f"docker cannot load {self.archive.name}")
        return f"{load} >/dev/null || {complaint}\nrm -f {path}"


@dataclass(frozen=True)
class Keeper(Resource):
    """A container that sleeps on a network: see phases/keepers.py. `anew`: its network is about to be recreated."""

    container: str
    network: str
    image: str
    anew: bool = False

    @property
    def name(self) -> str:
        """`container NAME`."""
        return f"container {self.container}"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if the keeper does not run on its network, or has to be replaced."""
        there = any(one.name == self.container and self.network in one.networks for one in facts.containers)
        return (
            None if there and not self.anew else Difference("create", note=f"keeps network {self.network} in use here")
        )

    def apply(self, difference: Difference) -> str:
        """Start a keeper, in place of one that does not run."""
        return call("put_keeper", self.container, self.network, self.image)


@dataclass(frozen=True)
class OldKeeper(Resource):
    """A keeper that is no longer wanted."""

    container: str

    @property
    def name(self) -> str:
        """`container NAME`."""
        return f"container {self.container}"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if the container is there, running or not."""
        there = any(one.name == self.container for one in facts.every_container)
        return Difference("remove", note="a keeper that is no longer wanted") if there else None

    def apply(self, difference: Difference) -> str:
        """Remove the container."""
        return f"{call('docker', 'rm', '-f', self.container)} >/dev/null"


@dataclass(frozen=True)
class GatewayBridge(Resource):
    """docker_gwbridge. Otherwise Docker would create it with the first container on an overlay, which waits for it.

    `subnet`: given if the subnet that Docker would choose is in use; see `subnets.gateway_bridge`.
    """

    subnet: IPv4Network | None = None

    @property
    def name(self) -> str:
        """`network docker_gwbridge`."""
        return f"network {GATEWAY_BRIDGE}"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if there is no such network. A new subnet would cut off containers on the bridge."""
        there = any(network["Name"] == GATEWAY_BRIDGE for network in facts.networks)
        # A Docker that did not answer may have the bridge already. With a subnet, the bridge has to be created by us.
        if there or not (facts.docker_answers or self.subnet):
            return None
        return Difference("create", note=f"bridge, {self.subnet} (chosen)" if self.subnet else "bridge")

    def remember(self) -> str:
        """Record that the network was not there."""
        return call("remember_network", GATEWAY_BRIDGE)

    def apply(self, difference: Difference) -> str:
        """Create the bridge."""
        return call("put_gateway_bridge", *([str(self.subnet)] if self.subnet else []))
