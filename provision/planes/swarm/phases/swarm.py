"""The swarm: made on its first manager; every other node joins it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.docker.client import retry
from provision.inventory.model import Node
from provision.network.subnets import LENGTH, assigned, spare
from provision.planes.swarm import view
from provision.planes.swarm.coordinator import SwarmCoordinator, opened
from provision.planes.swarm.ports import MANAGEMENT_PORT

if TYPE_CHECKING:
    from docker import DockerClient

#: The network on which services publish their ports. Docker makes it with the swarm.
INGRESS = "network ingress"

#: Prefix length of the block for the swarm's own networks: room for 256 of them.
POOL = 16


def role(node: Node) -> str:
    """Return what a node is to be."""
    return "manager" if node.member else "worker"


def founder(situation: Situation) -> Node:
    """Return the node on which the swarm is made, if there is none: the first member."""
    return situation.cluster.members[0]


def _goes(situation: Situation) -> Callable[[Node], bool]:
    """Return a key that is true for the managers that become workers."""
    return lambda node: view.daemon(situation.of(node)).manager and not node.member


class Swarm(Phase):
    """Every node is in the swarm, as a manager if it is a member. Tokens travel in memory and in bodies over SSH."""

    name = "swarm"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return that the swarm is made, which nodes join, and whose role changes. Managers go last."""
        there = tuple(view.active(situation))
        first = founder(situation)
        note = f"{first.name} manages it" + ("" if situation.cluster.ingress else "; without the network ingress")
        made = () if there else (Change(CLUSTER, self.name, "swarm", "create", note=note),)
        nodes = sorted((node for node in situation.cluster.nodes if there or node != first), key=_goes(situation))
        changes = (*made, *(change for node in nodes if (change := self._change(situation, node))))
        unwanted = not situation.cluster.ingress and any(network.get("Ingress") for network in _networks(situation))
        return (*changes, Change(CLUSTER, self.name, INGRESS, "remove")) if unwanted else changes

    def _change(self, situation: Situation, node: Node) -> Change | None:
        daemon = view.daemon(situation.of(node))
        if daemon.state != "active":
            return Change(CLUSTER, self.name, f"{node.name} in the swarm", "add", note=role(node))
        if daemon.manager == node.member:
            return None
        return Change(CLUSTER, self.name, f"role of {node.name}", "update", note=f"becomes a {role(node)}")

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Make the swarm, let one node join, change one node's role, or remove the network ingress."""
        door = opened(coordinator)
        if change.action == "create":
            first = founder(situation)
            retry(lambda: _make(situation, door.docker(first), first), "Docker makes the swarm", first.name)
            return
        if change.action == "remove":
            retry(lambda: _remove_ingress(door.manager()), "Docker removes the network ingress", "the swarm")
            return
        node = next(one for one in situation.cluster.nodes if one.name in change.resource.split())
        if change.action == "add":
            retry(lambda: _join(door, node), f"{node.name} joins the swarm", node.name)
        else:
            retry(lambda: _set_role(situation, door, node), f"{node.name} becomes a {role(node)}", node.name)
        door.await_quorum(f"after {change.action} {change.resource}")


def _is_in(docker: DockerClient) -> bool:
    return bool(docker.info()["Swarm"]["LocalNodeState"] == "active")


def _networks(situation: Situation) -> Iterator[Mapping[str, Any]]:
    return (network for facts in situation.facts.values() for network in facts.networks)


def _remove_ingress(docker: DockerClient) -> None:
    for network in docker.networks.list():
        if network.attrs.get("Ingress"):
            network.remove()


def _make(situation: Situation, docker: DockerClient, node: Node) -> None:
    if not _is_in(docker):
        _init(situation, docker, node)
    if not situation.cluster.ingress:
        _remove_ingress(docker)


def _init(situation: Situation, docker: DockerClient, node: Node) -> None:
    listen = f"{node.address}:{MANAGEMENT_PORT}"
    # The swarm's own networks, and those that its user makes without a subnet, get theirs from here.
    pool = spare(situation, assigned(situation).values(), POOL)
    docker.swarm.init(
        advertise_addr=listen,
        listen_addr=listen,
        data_path_addr=node.address,
        data_path_port=situation.cluster.vxlan_port,
        default_addr_pool=[str(pool)] if pool else None,
        subnet_size=LENGTH,
    )


def _join(door: SwarmCoordinator, node: Node) -> None:
    docker = door.docker(node)
    if _is_in(docker):
        return
    swarm = door.manager().api.inspect_swarm()
    managers: list[dict[str, Any]] = door.manager().api.nodes(filters={"role": "manager"})
    listen = f"{node.address}:{MANAGEMENT_PORT}"
    docker.swarm.join(
        remote_addrs=[one["ManagerStatus"]["Addr"] for one in managers],
        join_token=swarm["JoinTokens"][role(node).title()],
        advertise_addr=listen,
        listen_addr=listen,
        data_path_addr=node.address,
    )


def _set_role(situation: Situation, door: SwarmCoordinator, node: Node) -> None:
    api = door.manager().api
    there = api.inspect_node(view.daemon(situation.of(node)).identity)
    if there["Spec"]["Role"] != role(node):
        api.update_node(there["ID"], there["Version"]["Index"], {**there["Spec"], "Role": role(node)})
