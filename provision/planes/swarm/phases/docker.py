"""dockerd: our defaults beside the user's configuration, the bridge out of its overlays, and one restart at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from provision import layout
from provision.core.phase import Phase, Wave
from provision.core.plan import Change
from provision.core.situation import Situation
from provision.docker.hardening import defaults
from provision.docker.vendor import Vendor
from provision.facts import INPUTS
from provision.inventory.model import Node
from provision.network.subnets import gateway_bridge
from provision.planes.swarm import paths, view
from provision.planes.swarm.node import DOCKER_CONFIG, MEND, program
from provision.resources import File, Folder, GatewayBridge, Resource, Service, packet_rules
from provision.templates import render

if TYPE_CHECKING:
    from provision.core.plane import Coordinator


class Docker(Phase):
    """dockerd restarts before the node is in the swarm. Later, one node's at a time, and the leader's last."""

    name = "docker"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return our defaults, the programs that it starts with, the drop-in, Docker's service and its bridge."""
        drop_in, safety = _read(situation, node)
        return (
            Folder(layout.DOCKER),
            Folder(layout.DOCKER_OURS, 0o700),
            Folder(layout.DOCKER_DROP_IN_FOLDER),
            Folder(layout.PROGRAMS),
            File(paths.CONFIG_PROGRAM, program(*DOCKER_CONFIG)),
            mend_program(),
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
        return (together, *((node,) for node in sorted(alone, key=partial(leads, situation))))

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """A daemon in the swarm restarts with a quorum: without one, its containers could not join their networks."""
        for node in wave:
            if _leaves_for_a_while(situation, node):
                coordinator.await_quorum(f"before dockerd restarts on {node.name}")

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """It is in the swarm again, and on each network every node knows every other. StepFailed."""
        away = tuple(node for node in wave if _leaves_for_a_while(situation, node))
        if away:
            coordinator.await_back(situation, away)


def mend_program() -> File:
    """Return the program that stays beside dockerd, and that dockerd waits for before its start."""
    return File(layout.MEND_PROGRAM, program(*MEND), 0o755)


def _read(situation: Situation, node: Node) -> tuple[File, File]:
    """Return what dockerd reads at its start: the drop-in, and our defaults."""
    vendor = Vendor.of(situation.of(node).values)
    drop_in = render(
        "swarm/docker.conf.j2",
        cluster=situation.cluster.name,
        vendor=vendor.command,
        users_config=vendor.config,
        program=paths.CONFIG_PROGRAM,
        mend=layout.MEND_PROGRAM,
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


def leads(situation: Situation, node: Node) -> bool:
    """Say whether the node leads the managers."""
    listed = view.found(situation, node)
    return listed is not None and listed.leader
