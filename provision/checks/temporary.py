"""Networks that a check makes and takes away. No container is ever on a temporary overlay.

When the last container on a node leaves an overlay, Docker 20.10 loses a thread inside it (phases/keepers.py), and the
network's end does not bring it back. Scratch and removed with nobody on it, an overlay costs a daemon nothing.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import Any

from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from provision.checks.probes import gone
from provision.checks.proof import Proof
from provision.facts import RUN_LABEL
from provision.inventory.model import Node
from provision.network.subnets import ipv4, subnets_of
from provision.remote.remotes import in_parallel

#: Where their subnets are taken from, each tried from a place of the run's own.
POOLS = tuple(map(IPv4Network, ("10.254.0.0/16", "172.31.0.0/16", "192.168.0.0/16")))
LENGTH = 24

_ROUTES = "ip -4 -o route show table all type unicast"


@dataclass(frozen=True)
class Temporary:
    """A name and a subnet that nobody uses."""

    proof: Proof
    name: str
    subnet: IPv4Network

    def make(self, node: Node, driver: str = "overlay") -> str:
        """Make it through a node; return its ID. What Docker says if it refuses."""
        made = self.proof.coordinator.docker(node).api.create_network(
            self.name,
            driver,
            check_duplicate=True,
            labels={RUN_LABEL: self.proof.run},
            ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(self.subnet))]),
        )
        return str(made["Id"])

    def seen(self, node: Node) -> list[str]:
        """Return the IDs of the networks of that name on a node."""
        listed: list[dict[str, Any]] = self.proof.coordinator.docker(node).api.networks(names=[self.name])
        return sorted(one["Id"] for one in listed if one["Name"] == self.name)

    def remove(self) -> None:
        """Remove every network of that name, wherever it was made. StepFailed if one does not go."""
        for node in self.proof.cluster.nodes:
            for identity in self.seen(node):
                removal = partial(self.proof.coordinator.docker(node).api.remove_network, identity)
                gone(removal, f"network {self.name}", node.name)


@contextmanager
def temporary(proof: Proof) -> Iterator[Temporary]:
    """Give a network that may be made, and see to it that it is gone in the end."""
    subnet = _spare(proof)
    one = Temporary(proof, f"probe-{proof.run}-{secrets.token_hex(3)}", subnet)
    with proof.coordinator.cleaning_up_after(subnet):
        try:
            yield one
        finally:
            one.remove()


def _spare(proof: Proof) -> IPv4Network:
    used = [subnet for found in in_parallel(partial(_used, proof), proof.cluster.nodes) for subnet in found]
    return next(subnet for subnet in candidates(secrets.token_hex(4)) if not any(map(subnet.overlaps, used)))


def candidates(seed: str) -> Iterator[IPv4Network]:
    """Walk the subnets of each pool in an order of the seed's own: runs beside each other choose differently."""
    for pool in POOLS:
        subnets = list(pool.subnets(new_prefix=LENGTH))
        random.Random(seed).shuffle(subnets)  # noqa: S311 (which is tried first is no secret)
        yield from subnets


def _used(proof: Proof, node: Node) -> list[IPv4Network]:
    """Return what a node's networks and routes have; its default route aside."""
    networks = proof.coordinator.docker(node).api.networks()
    routes = proof.coordinator.remotes[node.name].run(_ROUTES, what="a look at its routes").stdout.splitlines()
    targets = (ipv4(line.split()[0]) for line in routes if line.strip())
    return [
        *(subnet for network in networks for subnet in subnets_of(network)),
        *(target for target in targets if target and target.prefixlen > 1),
    ]


def refused_as_taken(error: APIError) -> bool:
    """Tell whether Docker refused to make a network because it, or its subnet, is there already."""
    return error.status_code in (403, 409)
