"""The overlay networks, made once for the whole cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from provision.api import retry
from provision.inventory.model import Network, Node
from provision.phases import Phase
from provision.phases.image import probe_image
from provision.plan import CLUSTER, Change
from provision.resources import KEEPER, Resource
from provision.situation import Situation
from provision.subnets import assigned, subnets_of

if TYPE_CHECKING:
    from docker import DockerClient

    from provision.api import Clients

LABEL = "overlay-provision.cluster"


class Overlay(Phase):
    """A network is seen by one daemon and made through one: the store tells the others."""

    name = "overlay"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the image that a node could not take before its dockerd was started."""
        return () if situation.of(node).docker_answers else probe_image(situation)

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the networks to make, and those that are there with another subnet or driver."""
        there = situation.networks
        return tuple(
            change for wanted in _wanted(situation) if (change := _change(self.name, wanted, there.get(wanted.name)))
        )

    def change_cluster(self, situation: Situation, clients: Clients, change: Change) -> None:
        """Make the network; one in the way is removed first, which Docker refuses while it is in use."""
        network = next(wanted for wanted in _wanted(situation) if change.resource == f"network {wanted.name}")
        if change.action == "replace":
            for node in situation.cluster.nodes:
                remove = partial(_remove_keepers, clients.docker(node), network)
                retry(remove, f"Docker removes the keepers of {network.name}", node.name)
        docker = clients.docker(situation.cluster.nodes[0])

        def make() -> None:
            there = [one for one in docker.networks.list(names=[network.name]) if one.name == network.name]
            if change.action == "replace":
                there = [one for one in there if subnets_of(one.attrs) == (network.subnet,) or one.remove()]
            if not there:
                labels = {LABEL: situation.cluster.name}
                docker.networks.create(
                    network.name, "overlay", check_duplicate=True, labels=labels, ipam=_ipam(network)
                )

        # One of Docker's threads may lead nowhere (phases/keeper.py): the next call gets another.
        retry(make, f"Docker makes the network {network.name}", situation.cluster.nodes[0].name)


@dataclass(frozen=True)
class _Wanted:
    """A network as it should be; `chosen`: its subnet is not the inventory's."""

    name: str
    subnet: IPv4Network
    chosen: bool


def _wanted(situation: Situation) -> tuple[_Wanted, ...]:
    subnets = assigned(situation)
    return tuple(_Wanted(n.name, subnets[n.name], n.subnet is None) for n in situation.cluster.networks)


def _remove_keepers(docker: DockerClient, network: _Wanted) -> None:
    for keeper in docker.containers.list(all=True, filters={"label": f"{KEEPER}={network.name}"}):
        keeper.remove(force=True)


def changed_networks(situation: Situation) -> tuple[Network, ...]:
    """Return the networks that are to be made, or made anew."""
    there = situation.networks
    changed = {wanted.name for wanted in _wanted(situation) if _change("", wanted, there.get(wanted.name))}
    return tuple(network for network in situation.cluster.networks if network.name in changed)


def _ipam(network: _Wanted) -> Any:
    from docker.types import IPAMConfig, IPAMPool

    return IPAMConfig(pool_configs=[IPAMPool(subnet=str(network.subnet))])


def _change(phase: str, wanted: _Wanted, there: Mapping[str, Any] | None) -> Change | None:
    if there is None:
        note = f"overlay, {wanted.subnet}{' (chosen)' if wanted.chosen else ''}"
        return Change(CLUSTER, phase, f"network {wanted.name}", "create", note=note)
    subnets = subnets_of(there)
    if subnets == (wanted.subnet,):
        return None
    found = ", ".join(map(str, subnets)) or "no subnet"
    return Change(CLUSTER, phase, f"network {wanted.name}", "replace", note=f"{found} → {wanted.subnet}")
