"""What has to hold when a recovery ends: on the nodes that are left, and between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.core.outcome import Outcome
from provision.core.plane import Coordinator
from provision.core.resource import call
from provision.core.situation import Situation
from provision.errors import StepFailed
from provision.inventory.model import Node
from provision.remote import Remote, Remotes
from provision.resources import KEEPER, keeper_name

#: By node: containers that run, by ID, as `NAME STARTED`.
Running = Mapping[str, Mapping[str, str]]

_RUNNING = r"""
timeout 20 docker ps -q --no-trunc | xargs -r timeout 20 docker inspect -f '{{.Id}} {{.Name}} {{.State.StartedAt}}'
"""
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
        *_containers(before, running(coordinator.remotes)),
        *_networks(coordinator.remotes, tuple(node for node in nodes if node in coordinator.makers), networks),
        *_packets(coordinator.remotes, nodes, networks),
    )


def _quorum(coordinator: Coordinator) -> Outcome:
    try:
        coordinator.await_quorum("at the end of the recovery")
    except StepFailed as error:
        return Outcome("recover/quorum", "cluster", "failed", str(error), "fab recover, once more")
    return Outcome("recover/quorum", "cluster", "passed", "a quorum acknowledges writes")


def _containers(before: Running, now: Running) -> Iterator[Outcome]:
    for node, there in before.items():
        changed = [started.split()[0][1:] for one, started in there.items() if now.get(node, {}).get(one) != started]
        told = f"{', '.join(changed)}: restarted or ended meanwhile" if changed else f"all {len(there)} ran on"
        advice = "docker ps -a on the node" if changed else ""
        yield Outcome("recover/containers", node, "failed" if changed else "passed", told, advice)


def _networks(remotes: Remotes, nodes: tuple[Node, ...], networks: frozenset[str]) -> Iterator[Outcome]:
    listed = remotes.each(lambda remote: remote.run(_NETWORKS, what="listing networks"), nodes)
    for name, answer in listed.items():
        missing = sorted(networks - set(answer.stdout.split()))
        told = f"Docker does not list {', '.join(missing)}" if missing else f"Docker lists all {len(networks)} networks"
        advice = "systemctl restart docker on the node" if missing else ""
        yield Outcome("recover/networks", name, "failed" if missing else "passed", told, advice)


def _packets(remotes: Remotes, nodes: tuple[Node, ...], networks: frozenset[str]) -> Iterator[Outcome]:
    """Let keepers ping each other by name, once in each direction."""
    for network in sorted(networks):
        for here, there in ((here, there) for here in nodes for there in nodes if here != there):
            ends = keeper_name(network, here.name), keeper_name(network, there.name)
            ping = call("docker", "exec", ends[0], "ping", "-c", "1", "-W", "2", ends[1])
            seen = f"docker container inspect {ends[0]} >/dev/null 2>&1 || exit 3; timeout 10 {ping} >/dev/null 2>&1"
            code = remotes[here.name].run(seen, what=f"a packet from {KEEPER} to {KEEPER}").code
            if code != 3:  # a network that only its user has: no keeper is there
                told = f"packets from {here.name} to {there.name} on {network}"
                status = ("failed", f"no {told}") if code else ("passed", told)
                advice = "fab verify, when the lost hosts are replaced" if code else ""
                yield Outcome("recover/packets", here.name, "failed" if code else "passed", status[1], advice)
