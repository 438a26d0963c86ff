"""The overlay: every network on every node under one ID, and packets that cross, by address and by name."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from docker.errors import APIError

from provision.checks import Outcome
from provision.checks.proof import RUN_LABEL, Proof, check, failed, passed
from provision.inventory.model import Network, Node

if TYPE_CHECKING:
    from docker.models.containers import Container

#: A probe ends by itself, so that one left by a killed run does not stay.
PROBE_SECONDS = 300
#: Seconds for an answer: a new endpoint is known on the other side within one or two (gossip every 200 ms).
PATIENCE = 8
#: Fresh probes where Docker did not serve the first: phases/keeper.py tells of its threads that lead nowhere.
ATTEMPTS = 3

_REACH = """
for target; do
    end=$(($(date +%s) + {patience}))
    until seen=$(ping -c 1 -W 1 "$target" 2>&1); do
        [ "$(date +%s)" -lt "$end" ] || break
    done
    time=${{seen##*time=}}
    case $seen in *time=*) echo "$target ${{time%% ms*}}" ;; *) echo "$target lost" ;; esac
done
"""


class NotOnTheNetworkError(Exception):
    """Docker started a container on a network and gave it no address there."""


@dataclass(frozen=True)
class Probe:
    """A container of ours on one node and one network."""

    node: Node
    container: Container
    name: str
    address: str


@check("overlay", quick=True)
def one_network_everywhere(proof: Proof) -> Iterator[Outcome]:
    """Every network of the inventory is on every node, with one ID."""
    for network in proof.cluster.networks:
        found = {node.name: _ids(proof, node, network) for node in proof.cluster.nodes}
        distinct = set(found.values())
        if len(distinct) == 1 and len(next(iter(distinct))) == 1:
            yield passed(network.name, f"{next(iter(distinct))[0][:12]} on {', '.join(found)}")
        else:
            said = ", ".join(f"{name}: {' '.join(i[:12] for i in ids) or 'none'}" for name, ids in found.items())
            yield failed(network.name, f"not one network: {said}", "fab plan; fab status --store")


def _ids(proof: Proof, node: Node, network: Network) -> tuple[str, ...]:
    listed = proof.clients.docker(node).api.networks(names=[network.name])
    return tuple(sorted(one["Id"] for one in listed if one["Name"] == network.name))


@check("overlay", quick=True)
def containers_reach_each_other(proof: Proof) -> Iterator[Outcome]:
    """A probe on each node reaches each other node's, by address and by name, on every network."""
    with ThreadPoolExecutor(len(proof.cluster.nodes)) as pool:
        for network in proof.cluster.networks:
            yield from _proven(proof, network, pool)


def _proven(proof: Proof, network: Network, pool: Executor) -> Iterator[Outcome]:
    """Try with fresh probes until all is well; say when it was not at once, and what was seen at last."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            outcomes = _attempt(proof, network, pool)
        except (APIError, NotOnTheNetworkError) as error:
            if attempt == ATTEMPTS:
                raise
            reason = str(error)
            continue
        wrong = [outcome.evidence for outcome in outcomes if outcome.status == "failed"]
        if not wrong or attempt == ATTEMPTS:
            break
        reason = wrong[0]
    later = f" (attempt {attempt}; before: {reason[:160]})" if attempt > 1 else ""
    yield from (replace(outcome, evidence=outcome.evidence + later) for outcome in outcomes)


def _attempt(proof: Proof, network: Network, pool: Executor) -> list[Outcome]:
    nodes = proof.cluster.nodes
    list(pool.map(lambda node: _remove_probes(proof, node), nodes))
    try:
        probes = list(pool.map(lambda node: _start(proof, node, network), nodes))
        reached = pool.map(lambda source: list(_reach(source, probes, network)), probes)
        return [outcome for outcomes in reached for outcome in outcomes]
    finally:
        list(pool.map(lambda node: _remove_probes(proof, node), nodes))


def _start(proof: Proof, node: Node, network: Network) -> Probe:
    name = f"probe-{proof.run}-{network.name}-{node.name}"
    api = proof.clients.docker(node).api
    made = api.create_container(
        proof.cluster.probe.image,
        command=["sleep", str(PROBE_SECONDS)],
        name=name,
        labels={RUN_LABEL: proof.run},
        host_config=api.create_host_config(auto_remove=True, network_mode=network.name),
    )
    api.start(made["Id"])
    container = proof.clients.docker(node).containers.get(made["Id"])
    address = container.attrs["NetworkSettings"]["Networks"][network.name]["IPAddress"]
    if not address:
        raise NotOnTheNetworkError(f"Docker on {node.name} started {name} without an address")
    return Probe(node, container, name, address)


def _reach(source: Probe, probes: list[Probe], network: Network) -> Iterator[Outcome]:
    others = [probe for probe in probes if probe is not source]
    targets = [target for probe in others for target in (probe.address, probe.name)]
    script = _REACH.format(patience=PATIENCE)
    answer = source.container.exec_run(["sh", "-c", script, "reach", *targets]).output.decode(errors="replace")
    seen = {words[0]: words[1:] for line in answer.splitlines() if len(words := line.split()) == 2}
    for probe in others:
        where = f"{source.node.name} → {probe.node.name}"
        times = {
            how: seen.get(target, ["lost"])[0] for how, target in (("address", probe.address), ("name", probe.name))
        }
        lost = [how for how, time in times.items() if time == "lost"]
        if lost:
            advice = "are 4789/udp, 7946/tcp and 7946/udp open between the nodes, both ways?"
            yield failed(where, f"{network.name}: no answer from {probe.address} by {' nor by '.join(lost)}", advice)
        else:
            yield passed(
                where,
                f"{network.name}: {probe.address} answers in {times['address']} ms, by name in {times['name']} ms",
            )


def _remove_probes(proof: Proof, node: Node) -> None:
    api = proof.clients.docker(node).api
    for container in api.containers(all=True, filters={"label": RUN_LABEL}):
        if container["Labels"][RUN_LABEL] in proof.living - {proof.run}:
            continue
        try:
            api.remove_container(container["Id"], force=True)
        except APIError as error:
            if error.status_code not in (404, 409):  # gone, or going: it removes itself
                raise
