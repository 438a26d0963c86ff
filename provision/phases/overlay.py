"""The overlay networks, made once for the whole cluster."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from provision.api import retry
from provision.inventory.model import Network, Node
from provision.phases import Phase
from provision.phases.image import probe_image
from provision.plan import CLUSTER, Change
from provision.resources import KEEPER, Resource
from provision.situation import Situation

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
        there = _seen(situation)
        return tuple(
            change
            for network in situation.cluster.networks
            if (change := _change(self.name, network, there.get(network.name)))
        )

    def change_cluster(self, situation: Situation, clients: Clients, change: Change) -> None:
        """Make the network; one in the way is removed first, which Docker refuses while it is in use."""
        network = next(n for n in situation.cluster.networks if change.resource == f"network {n.name}")
        if change.action == "replace":
            for node in situation.cluster.nodes:
                remove = partial(_remove_keepers, clients.docker(node), network)
                retry(remove, f"Docker removes the keepers of {network.name}", node.name)
        docker = clients.docker(situation.cluster.nodes[0])

        def make() -> None:
            there = [one for one in docker.networks.list(names=[network.name]) if one.name == network.name]
            if change.action == "replace":
                there = [one for one in there if _subnets(one.attrs) == [str(network.subnet)] or one.remove()]
            if not there:
                labels = {LABEL: situation.cluster.name}
                docker.networks.create(
                    network.name, "overlay", check_duplicate=True, labels=labels, ipam=_ipam(network)
                )

        # One of Docker's threads may lead nowhere (phases/keeper.py): the next call gets another.
        retry(make, f"Docker makes the network {network.name}", situation.cluster.nodes[0].name)


def _remove_keepers(docker: DockerClient, network: Network) -> None:
    for keeper in docker.containers.list(all=True, filters={"label": f"{KEEPER}={network.name}"}):
        keeper.remove(force=True)


def changed_networks(situation: Situation) -> tuple[Network, ...]:
    """Return the networks that are to be made, or made anew."""
    there = _seen(situation)
    return tuple(n for n in situation.cluster.networks if _change("", n, there.get(n.name)))


def _ipam(network: Network) -> Any:
    from docker.types import IPAMConfig, IPAMPool

    return IPAMConfig(pool_configs=[IPAMPool(subnet=str(network.subnet))])


def _subnets(network: Mapping[str, Any]) -> list[str]:
    return [pool["Subnet"] for pool in network.get("IPAM", {}).get("Config") or () if "Subnet" in pool]


def _seen(situation: Situation) -> dict[str, Mapping[str, Any]]:
    """Return what any daemon on the store has, by name."""
    return {
        network["Name"]: network
        for facts in situation.facts.values()
        for network in facts.networks
        if network.get("Scope") == "global"
    }


def _change(phase: str, network: Network, there: Mapping[str, Any] | None) -> Change | None:
    if there is None:
        return Change(CLUSTER, phase, f"network {network.name}", "create", note=f"overlay, {network.subnet}")
    subnets = _subnets(there)
    if subnets == [str(network.subnet)]:
        return None
    found = ", ".join(map(str, subnets)) or "no subnet"
    return Change(CLUSTER, phase, f"network {network.name}", "replace", note=f"{found} → {network.subnet}")
