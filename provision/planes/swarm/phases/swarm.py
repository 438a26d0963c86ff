"""The swarm: made on its first manager; every other node joins it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from provision import waiting
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.docker.client import asked, retry
from provision.errors import Unanswered
from provision.inventory.model import Node
from provision.network.subnets import LENGTH, assigned, spare
from provision.phases import departure
from provision.planes.swarm import leaving, node_changes, recovery, validity, view
from provision.planes.swarm.coordinator import ADVICE, SwarmCoordinator, opened
from provision.planes.swarm.ports import MANAGEMENT_PORT

if TYPE_CHECKING:
    from docker import DockerClient

#: The network on which services publish their ports. Docker makes it with the swarm.
INGRESS = "network ingress"

#: Prefix length of the block for the swarm's own networks: room for 256 of them.
POOL = 16
#: What the plan says of a manager that is none any more. Such changes come last.
BECOMES_A_WORKER = "becomes a worker"


def role(situation: Situation, node: Node) -> str:
    """Return what a host is to be. One that leaves becomes a worker first."""
    return "manager" if node.member and node not in situation.cluster.absent else "worker"


def _is_demoted(situation: Situation, host: Node) -> bool:
    """Say whether a host is to be a worker, and is a manager, or was one until a moment ago, by its certificate.

    A manager that was removed while it was off says of itself that it is one, and is not in the list.
    """
    there = view.found(situation, host)
    shown = validity.role(situation.of(host).answers.get(validity.NODE, ""))
    return there is not None and (there.manager or shown == "manager")


def founder(situation: Situation) -> Node:
    """Return the node on which the swarm is made, if there is none: the first member."""
    return situation.cluster.members[0]


class Swarm(Phase):
    """Every node is in the swarm, as a manager if it is a member. Tokens travel in memory and in bodies over SSH."""

    name = "swarm"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return that the swarm is made, which nodes join, and whose role changes. Managers go last."""
        there = tuple(view.active(situation))
        first = founder(situation)
        note = f"{first.name} manages it" + ("" if situation.cluster.ingress else "; without the network ingress")
        made = () if there else (Change(CLUSTER, self.name, "swarm", "create", note=note),)
        nodes = [node for node in situation.cluster.nodes if there or node != first]
        changes = [change for node in nodes if (change := self._change(situation, node))]
        changes += [self._demoted(host.name) for host in departure.leaving(situation) if _is_demoted(situation, host)]
        changes = [*made, *sorted(changes, key=lambda change: change.note == BECOMES_A_WORKER)]
        changes = self._without_a_leader_that_leaves(situation, changes)
        unwanted = not situation.cluster.ingress and any(network.get("Ingress") for network in _networks(situation))
        return (*changes, Change(CLUSTER, self.name, INGRESS, "remove")) if unwanted else tuple(changes)

    def _change(self, situation: Situation, node: Node) -> Change | None:
        if view.daemon(situation.of(node)).state != "active" or recovery.was_given_up(situation, node):
            return Change(CLUSTER, self.name, f"{node.name} in the swarm", "add", note=role(situation, node))
        if not node.member:
            return self._demoted(node.name) if _is_demoted(situation, node) else None
        there = view.found(situation, node)
        if there is None or there.manager:
            return None
        return Change(CLUSTER, self.name, f"role of {node.name}", "update", note="becomes a manager")

    def _demoted(self, name: str) -> Change:
        return Change(CLUSTER, self.name, f"role of {name}", "update", note=BECOMES_A_WORKER)

    def _without_a_leader_that_leaves(self, situation: Situation, changes: list[Change]) -> list[Change]:
        """Let another manager lead before a node joins: a host that leaves may let no newcomer in."""
        leader = leaving.leader(situation)
        if leader is None or not any(change.action == "add" for change in changes):
            return changes
        first = self._demoted(leaving.name(situation, leader))
        return [first, *(change for change in changes if change != first)]

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Make the swarm, let one node join, change one node's role, or remove the network ingress."""
        door = opened(coordinator)
        if change.action == "create":
            first = founder(situation)
            retry(lambda: make(situation, door.docker(first), first), "Docker makes the swarm", first.name)
            return
        if change.action == "remove":
            retry(lambda: _remove_ingress(door.manager()), "Docker removes the network ingress", "the swarm")
            return
        hosts = situation.cluster.hosts
        named = (one for one in hosts if change.resource in (f"{one.name} in the swarm", f"role of {one.name}"))
        node, leader = next(named, None), leaving.leader(situation)
        if node and change.action == "add":
            what = f"{node.name} joins the swarm"
            waiting.until(lambda: _join(door, node, role(situation, node)), what, node.name, ADVICE)
        elif node:
            node_changes.set_role(door, node, role(situation, node))
        elif leader:  # of a host that the inventory does not have
            node_changes.demote_unasked(door, leader.identity, leader.hostname)
        door.await_quorum(f"after {change.action} {change.resource}")


def _state(docker: DockerClient) -> str:
    return str(docker.info()["Swarm"]["LocalNodeState"])


def _networks(situation: Situation) -> Iterator[Mapping[str, Any]]:
    return (network for facts in situation.facts.values() for network in facts.networks)


def _remove_ingress(docker: DockerClient) -> None:
    for network in docker.networks.list():
        if network.attrs.get("Ingress"):
            network.remove()


def make(situation: Situation, docker: DockerClient, node: Node) -> None:
    """Make the swarm on a node, unless that is in one."""
    if _state(docker) != "active":
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


def _addresses(door: SwarmCoordinator, managers: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return where a newcomer finds managers: those that stay, because a host that leaves may not let it in.

    A manager that is just becoming a worker is listed without its status.
    """
    staying = {node.address for node in door.cluster.nodes}
    found = [(one.get("ManagerStatus") or {}).get("Addr", "") for one in managers]
    return [address for address in found if address.partition(":")[0] in staying]


def _join(door: SwarmCoordinator, node: Node, role: str) -> None:
    """Let a node join, and wait until it has. Docker's own attempt goes on after it has said that it took too long."""
    docker = door.docker(node)
    if asked(lambda: _state(docker)) == "inactive":
        swarm = asked(door.manager().api.inspect_swarm)
        managers: list[dict[str, Any]] = asked(lambda: door.manager().api.nodes(filters={"role": "manager"}))
        listen = f"{node.address}:{MANAGEMENT_PORT}"
        asked(
            lambda: docker.swarm.join(
                remote_addrs=_addresses(door, managers),
                join_token=swarm["JoinTokens"][role.title()],
                advertise_addr=listen,
                listen_addr=listen,
                data_path_addr=node.address,
            )
        )
    if asked(lambda: _state(docker)) != "active":
        raise Unanswered(asked(docker.info)["Swarm"]["Error"] or "it is joining")
