"""dockerd: our defaults beside the user's configuration, the bridge out of its overlays, and one restart at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from provision import layout, waiting
from provision.core.phase import Phase, Wave
from provision.core.plan import Change
from provision.core.situation import Situation
from provision.docker.client import asked
from provision.docker.hardening import defaults
from provision.docker.vendor import Vendor
from provision.errors import Unanswered
from provision.facts import INPUTS
from provision.inventory.model import Network, Node
from provision.network.subnets import gateway_bridge
from provision.planes.swarm import paths, view
from provision.planes.swarm.coordinator import ADVICE, GOSSIP_SECONDS, SwarmCoordinator, opened
from provision.planes.swarm.node import DOCKER_CONFIG, program
from provision.resources import File, Folder, GatewayBridge, Resource, Service, keeper_name, packet_rules
from provision.templates import render

if TYPE_CHECKING:
    from provision.core.plane import Coordinator

#: Seconds until a dockerd is back in the swarm: an election, 20 to 25 s until it is active, and then gossip.
BACK_SECONDS = 60 + GOSSIP_SECONDS


class Docker(Phase):
    """dockerd restarts before the node is in the swarm. Later, one node's at a time, and the leader's last."""

    name = "docker"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return our defaults, the program that adds them, the drop-in, Docker's service and its bridge."""
        drop_in, safety = _read(situation, node)
        return (
            Folder(layout.DOCKER),
            Folder(layout.DOCKER_OURS, 0o700),
            Folder(layout.DOCKER_DROP_IN_FOLDER),
            Folder(layout.PROGRAMS),
            File(paths.CONFIG_PROGRAM, program(*DOCKER_CONFIG)),
            safety,
            drop_in,
            _service(situation, node),
            GatewayBridge(gateway_bridge(situation, node)),
        )

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """A daemon in the swarm restarts alone, the leader last, for one election only. Others go first, at once."""
        touched = [node for node in situation.cluster.nodes if changes.get(node.name)]
        alone = [node for node in touched if _leaves_for_a_while(situation, node)]
        together = tuple(node for node in touched if node not in alone)
        return (together, *((node,) for node in sorted(alone, key=partial(_leads, situation))))

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """A daemon in the swarm restarts with a quorum: without one, its containers could not join their networks."""
        for node in wave:
            if _leaves_for_a_while(situation, node):
                coordinator.await_quorum(f"before dockerd restarts on {node.name}")

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """It is in the swarm again, and on each network every node knows every other. StepFailed."""
        door = opened(coordinator)
        for node in wave:
            if _leaves_for_a_while(situation, node):
                back = partial(_is_back, situation, door, node)
                what = f"dockerd is in the swarm again on {node.name}, and all nodes know each other"
                waiting.until(back, what, node.name, ADVICE, seconds=BACK_SECONDS)


def _read(situation: Situation, node: Node) -> tuple[File, File]:
    """Return what dockerd reads at its start: the drop-in, and our defaults."""
    vendor = Vendor.of(situation.of(node).values)
    drop_in = render(
        "swarm/docker.conf.j2",
        cluster=situation.cluster.name,
        vendor=vendor.command,
        users_config=vendor.config,
        program=paths.CONFIG_PROGRAM,
        config=layout.DOCKER_RUN_CONFIG,
        inputs=(layout.DOCKER_DROP_IN, layout.DOCKER_HARDENING),
        inputs_folder=INPUTS,
    )
    return (
        File(layout.DOCKER_DROP_IN, drop_in),
        File(layout.DOCKER_HARDENING, defaults(situation.cluster.hardening, vendor.flags)),
    )


def _service(situation: Situation, node: Node) -> Service:
    inputs = tuple((file.path, file.fit) for file in _read(situation, node))
    gone = packet_rules.gone(situation.of(node))
    return Service(layout.DOCKER_UNIT, inputs, seconds=120, stops_containers=True, gone=gone)


def _leaves_for_a_while(situation: Situation, node: Node) -> bool:
    """Say whether dockerd is in a swarm, and restarts."""
    facts = situation.of(node)
    difference = _service(situation, node).compare(facts)
    return view.daemon(facts).state == "active" and difference is not None and difference.action == "restart"


def _leads(situation: Situation, node: Node) -> bool:
    listed = view.found(situation, node)
    return listed is not None and listed.leader


def _is_back(situation: Situation, door: SwarmCoordinator, node: Node) -> None:
    """Return if a daemon is in the swarm, all nodes are ready, and none misses another. Unanswered, StepFailed.

    A new leader does not know a node's state before the node has reported to it.
    """
    swarm = asked(lambda: door.docker(node).info())["Swarm"]
    if swarm["LocalNodeState"] != "active":
        raise Unanswered(f"its swarm is {swarm['LocalNodeState']}: {swarm.get('Error', '')}")
    states = {one["ID"]: one["Status"]["State"] for one in asked(lambda: door.manager().api.nodes())}
    for one in view.active(situation):
        state = states.get(view.daemon(situation.of(one)).identity, "unknown")
        if state != "ready":
            raise Unanswered(f"the managers list {one.name} as {state}")
    for network, nodes in _attached(situation):
        for one in nodes:
            if missing := asked(partial(door.missing_peers, one, network.name, nodes)):
                names = ", ".join(other.name for other in missing)
                raise Unanswered(f"on network {network.name}, {one.name} does not know {names}")


def _attached(situation: Situation) -> Iterator[tuple[Network, tuple[Node, ...]]]:
    """Yield each network, with the nodes whose keeper was found on it."""
    for network in situation.cluster.networks:
        yield (
            network,
            tuple(
                node
                for node in view.active(situation)
                if keeper_name(network.name, node.name) in {one.name for one in situation.of(node).containers}
            ),
        )
