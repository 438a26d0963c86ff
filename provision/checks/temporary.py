"""Networks that a check creates and removes. No container ever joins a temporary overlay.

When the last container on a node leaves an overlay, Docker 20.10 loses a thread in that network's namespace
(phases/keepers.py), and removing the network does not bring the thread back. An overlay that is created and removed
without a container on it costs a daemon nothing.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import Any

from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from provision.checks.probes import gone
from provision.checks.proof import Proof
from provision.core.plane import Coordinator
from provision.facts import RUN_LABEL
from provision.inventory.model import Node
from provision.network.subnets import ipv4, subnets_of
from provision.remote.remotes import in_parallel

#: The pools of their subnets, in the order in which they are tried.
POOLS = tuple(map(IPv4Network, ("10.254.0.0/16", "172.31.0.0/16", "192.168.0.0/16")))
LENGTH = 24

_ROUTES = "ip -4 -o route show table all type unicast"


@dataclass(frozen=True)
class Temporary:
    """A network with a name and a subnet that nobody else uses."""

    proof: Proof
    name: str
    subnet: IPv4Network

    def make(self, node: Node, driver: str = "overlay") -> str:
        """Create the network through a node's Docker; return its ID. APIError if Docker refuses."""
        made = self.proof.coordinator.docker(node).api.create_network(
            self.name,
            driver,
            check_duplicate=True,
            attachable=True,
            labels={RUN_LABEL: self.proof.run},
            ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(self.subnet))]),
        )
        return str(made["Id"])

    def seen(self, node: Node) -> list[str]:
        """Return the IDs of the networks with this name on a node."""
        listed: list[dict[str, Any]] = self.proof.coordinator.docker(node).api.networks(names=[self.name])
        return sorted(one["Id"] for one in listed if one["Name"] == self.name)

    def remove(self) -> None:
        """Remove every network with this name from every node. StepFailed if one cannot be removed."""
        for node in self.proof.cluster.nodes:
            for identity in self.seen(node):
                removal = partial(self.proof.coordinator.docker(node).api.remove_network, identity)
                gone(removal, f"network {self.name}", node.name)


@contextmanager
def temporary(proof: Proof) -> Iterator[Temporary]:
    """Yield a network that can be created, and remove it at the end."""
    subnet = spare(proof.coordinator, proof.cluster.nodes)
    one = Temporary(proof, f"probe-{proof.run}-{secrets.token_hex(3)}", subnet)
    with proof.coordinator.cleaning_up_after(subnet):
        try:
            yield one
        finally:
            one.remove()


def spare(coordinator: Coordinator, nodes: Sequence[Node]) -> IPv4Network:
    """Return a subnet that overlaps no network and no route of these nodes. APIError if a Docker does not list them."""
    used = [subnet for found in in_parallel(partial(_used, coordinator), nodes) for subnet in found]
    return next(subnet for subnet in candidates(secrets.token_hex(4)) if not any(map(subnet.overlaps, used)))


def candidates(seed: str) -> Iterator[IPv4Network]:
    """Yield the subnets of each pool, in an order that depends on the seed: simultaneous runs choose different ones."""
    for pool in POOLS:
        subnets = list(pool.subnets(new_prefix=LENGTH))
        random.Random(seed).shuffle(subnets)  # noqa: S311 (the order is no secret)
        yield from subnets


def _used(coordinator: Coordinator, node: Node) -> list[IPv4Network]:
    """Return the subnets of a node's networks and routes, without its default route."""
    networks = coordinator.docker(node).api.networks()
    routes = coordinator.remotes[node.name].run(_ROUTES, what="reading the routes").stdout.splitlines()
    targets = (ipv4(line.split()[0]) for line in routes if line.strip())
    return [
        *(subnet for network in networks for subnet in subnets_of(network)),
        *(target for target in targets if target and target.prefixlen > 1),
    ]


def refused_as_taken(error: APIError) -> bool:
    """Return whether Docker refused to create a network because it or its subnet exists already."""
    return error.status_code in (403, 409) or "name conflicts" in str(error.explanation)
