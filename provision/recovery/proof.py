"""What has to hold when a recovery ends: on the nodes that are left, and between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.core.outcome import Outcome
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.errors import StepFailed
from provision.inventory.model import Node
from provision.remote import Remote, Remotes
from provision.resources import keeper_name

#: The outcome with which a recovery ends.
QUORUM = "recover/quorum"
#: By node: containers that run, by ID, as `NAME STARTED`.
Running = Mapping[str, Mapping[str, str]]

_RUNNING = r"""
timeout 20 docker ps -q --no-trunc | xargs -r timeout 20 docker inspect -f '{{.Id}} {{.Name}} {{.State.StartedAt}}'
"""
#: Prints `untried` where this node has no keeper, or the names of the keepers that do not answer.
_HAS = "docker container inspect {own} >/dev/null 2>&1 || {{ echo untried; exit 0; }}"
_PING = "timeout 10 docker exec {own} ping -c 1 -W 2 {name} >/dev/null 2>&1 || echo {name}"
_NETWORKS = "timeout 20 docker network ls -f driver=overlay --format '{{.Name}}'"


def running(remotes: Remotes) -> Running:
    """Return the containers that run now, and since when."""

    def ask(remote: Remote) -> Mapping[str, str]:
        lines = remote.run(_RUNNING, what="looking at containers").stdout.splitlines()
        return dict(line.split(" ", 1) for line in lines)

    return remotes.each(ask)


def proven(
    situation: Situation, coordinator: Coordinator, before: Running, networks: frozenset[str]
) -> tuple[Outcome, ...]:
    """Return what was seen. `before`: the containers that ran; `networks`: those that the kept node knew."""
    nodes = tuple(node for node in situation.cluster.nodes if situation.of(node).containers_known)
    return (
        _quorum(coordinator),
        *containers(before, running(coordinator.remotes)),
        *_networks(coordinator.remotes, tuple(node for node in nodes if node in coordinator.makers), networks),
        *_packets(coordinator.remotes, nodes, networks),
    )


def _quorum(coordinator: Coordinator) -> Outcome:
    try:
        coordinator.await_quorum("at the end of the recovery")
    except StepFailed as error:
        return Outcome(QUORUM, "cluster", "failed", str(error), "fab recover, once more")
    return Outcome(QUORUM, "cluster", "passed", "a quorum acknowledges writes")


def containers(before: Running, now: Running) -> Iterator[Outcome]:
    """Say which containers of those that ran have not run on."""
    for node, there in before.items():
        changed = [started.split()[0][1:] for one, started in there.items() if now.get(node, {}).get(one) != started]
        told = f"{', '.join(changed)}: restarted or ended meanwhile" if changed else f"all {len(there)} ran on"
        advice = "docker ps -a on the node" if changed else ""
        # A warning: a container that restarts or ends by itself would keep the recovery from ending.
        yield Outcome("recover/containers", node, "warning" if changed else "passed", told, advice)


def _networks(remotes: Remotes, nodes: tuple[Node, ...], networks: frozenset[str]) -> Iterator[Outcome]:
    listed = remotes.each(lambda remote: remote.run(_NETWORKS, what="listing networks"), nodes)
    for name, answer in listed.items():
        missing = sorted(networks - set(answer.stdout.split()))
        told = f"Docker does not list {', '.join(missing)}" if missing else f"Docker lists all {len(networks)} networks"
        advice = "systemctl restart docker on the node" if missing else ""
        yield Outcome("recover/networks", name, "failed" if missing else "passed", told, advice)


def _packets(remotes: Remotes, nodes: tuple[Node, ...], networks: frozenset[str]) -> Iterator[Outcome]:
    """Let keepers ping each other by name, once in each direction. A network that only its user has has none."""
    for network in sorted(networks) if len(nodes) > 1 else ():
        keepers = {keeper_name(network, node.name): node for node in nodes}

        def ask(remote: Remote, network: str = network, keepers: Mapping[str, Node] = keepers) -> list[str]:
            own = keeper_name(network, remote.node.name)
            pings = [_PING.format(own=own, name=name) for name in keepers if name != own]
            script = "\n".join((_HAS.format(own=own), *pings))
            return remote.run(script, what="packets between keepers", timeout=60 + 3 * len(pings)).stdout.split()

        tried = {name: silent for name, silent in remotes.each(ask, nodes).items() if silent != ["untried"]}
        for here, silent in tried.items():
            told = f"no packet from {here} to {', '.join(keepers[name].name for name in silent)} on {network}"
            well = f"packets from {here} reach every other node on {network}"
            advice = "fab verify, when the lost hosts are replaced" if silent else ""
            yield Outcome("recover/packets", here, "failed" if silent else "passed", told if silent else well, advice)
