"""Whether every node is wholly in the swarm: what has to hold before the next node's dockerd goes away.

"Active", "ready" and "up" prove nothing alone: see what `Seen` is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from provision.core.situation import Situation
from provision.docker.client import asked
from provision.errors import Unanswered
from provision.inventory.model import Network, Node
from provision.planes.swarm import view
from provision.planes.swarm.coordinator import SwarmCoordinator
from provision.resources import keeper_name


@dataclass(frozen=True)
class Seen:
    """What daemons and managers say now; `missing`: by network and node, the nodes that its daemon does not know."""

    daemons: Mapping[str, view.Daemon]
    listed: tuple[view.Listed, ...]
    missing: Mapping[tuple[str, str], tuple[str, ...]]


def unwell(seen: Seen) -> Iterator[str]:
    """Yield which node is not wholly in the swarm, and why. Pure.

    A new leader does not know a node's state before the node has reported to it.
    """
    entries = {one.identity: one for one in seen.listed}
    for name, daemon in seen.daemons.items():
        there = entries.get(daemon.identity)
        if daemon.state != "active":
            yield f"the swarm of {name} is {daemon.state or 'unknown'}: {daemon.error}"
        elif there is None or not there.ready:
            yield f"the managers list {name} as {'not ready' if there else 'unknown'}"
        elif not there.answers:
            yield f"the manager {name} is not reachable for the others"
    for (network, name), missing in seen.missing.items():
        if missing:
            yield f"on network {network}, {name} does not know {', '.join(missing)}"


def check(situation: Situation, door: SwarmCoordinator) -> None:
    """Return if all nodes that were in the swarm are wholly in it. Unanswered, StepFailed."""
    nodes = tuple(view.active(situation))
    daemons = {node.name: view.told(asked(door.docker(node).info)) for node in nodes}
    listed = tuple(map(view.entry, asked(lambda: door.manager().api.nodes())))
    missing = {
        (network.name, node.name): tuple(
            other.name for other in asked(partial(door.missing_peers, node, network.name, attached))
        )
        for network, attached in _attached(situation)
        for node in attached
        if daemons[node.name].state == "active"
    }
    if trouble := "; ".join(unwell(Seen(daemons, listed, missing))):
        raise Unanswered(trouble)


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
