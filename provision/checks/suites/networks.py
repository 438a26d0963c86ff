"""New networks: seen on every node, created once, isolated from other networks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from docker.errors import APIError

from provision.checks import probes
from provision.checks.probe_pool import probe_pool
from provision.checks.probes import Probe
from provision.checks.proof import Proof
from provision.checks.suites.overlay import REACH
from provision.checks.temporary import Temporary, refused_as_taken, temporary
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node
from provision.remote.remotes import in_parallel
from provision.waiting import wait_for

#: Seconds in which every Docker has to see a new network.
SEEN_SECONDS = 2.0
#: Seconds after which the check stops waiting for the network.
PATIENCE = 10

#: Print those of the addresses and names that answer one of three pings. Resolving an unknown name may take long.
_KNOCK = """
for target; do timeout 3 ping -c 3 -w 2 "$target" 2>&1 | grep -q 'bytes from' && echo "$target" & done
wait
"""


@check("overlay")
def new_network_seen_everywhere(proof: Proof) -> Iterator[Outcome]:
    """A network created on one node is seen on every other node within two seconds: containers can join it there."""
    first, *others = proof.coordinator.makers
    with temporary(proof) as network:
        identity = network.make(first)
        made = time.monotonic()
        seen = in_parallel(lambda node: _seen_after(network, node, identity, made), others)
    for node, seconds in zip(others, seen, strict=True):
        if seconds is not None and seconds <= SEEN_SECONDS:
            yield passed(node.name, f"saw a network created on {first.name} after {seconds * 1000:.0f} ms")
        else:
            told = f"after {seconds:.1f} s" if seconds is not None else f"not within {PATIENCE} s"
            yield failed(
                node.name, f"saw a network created on {first.name} {told}", "fab status --store; journalctl -u docker"
            )


def _seen_after(network: Temporary, node: Node, identity: str, made: float) -> float | None:
    there = wait_for(lambda: identity in network.seen(node), PATIENCE)
    return time.monotonic() - made if there else None


@check("overlay")
def made_on_each_node_at_once_is_one(proof: Proof) -> Iterator[Outcome]:
    """A network that all nodes create at the same moment, with the same name and subnet, becomes one network.

    The subnet decides: the control plane assigns it once. Without a subnet, Docker 20.10 may create two networks with
    one name.
    """
    with temporary(proof) as network:
        refused = [words for words in in_parallel(partial(_try_to_make, network), proof.coordinator.makers) if words]
        yield judged(network, refused)


def judged(network: Temporary, refused: Sequence[str]) -> Outcome:
    """Return whether every node has one network of that name, the same one. `refused`: the refusals of the others."""
    nodes = network.proof.coordinator.makers

    def found() -> set[tuple[str, ...]]:
        return {tuple(network.seen(node)) for node in nodes}

    def one() -> bool:
        return len(seen := found()) == 1 and len(next(iter(seen))) == 1

    if wait_for(one, SEEN_SECONDS):
        others = f"; refused elsewhere: {', '.join(sorted(set(refused)))}"
        return passed("cluster", f"created on {len(nodes)} nodes at once, one ID everywhere{others if refused else ''}")
    said = ", ".join(f"{node.name}: {' '.join(i[:12] for i in network.seen(node)) or 'none'}" for node in nodes)
    return failed("cluster", f"created on {len(nodes)} nodes at once, not one network: {said}", "fab status --store")


def _try_to_make(network: Temporary, node: Node) -> str:
    """Create the network. Return Docker's error message if the network or its subnet exists already, else nothing."""
    try:
        network.make(node)
    except APIError as error:
        if not refused_as_taken(error):
            raise
        return str(error.explanation)
    return ""


@check("overlay", needs=[REACH])
def isolated_from_other_networks(proof: Proof) -> Iterator[Outcome]:
    """Networks are isolated: containers of one network do not reach those of another, by address or by name.

    The other network is one of the inventory's, or a new bridge on each node if the inventory has one network only. It
    is no temporary overlay, because containers that leave one cost each daemon a thread (checks/temporary.py).
    """
    first, *more = proof.cluster.networks
    for other in more:
        outsiders = probe_pool(proof, other).probes()
        yield from kept_apart(probe_pool(proof, first).probes(), outsiders, f"{first.name} and {other.name}")
    if not more:
        with ExitStack() as bridges:
            outsiders = _on_bridges(proof, bridges)
            yield from kept_apart(probe_pool(proof, first).probes(), outsiders, f"{first.name} and a bridge")


def _on_bridges(proof: Proof, end: ExitStack) -> list[Probe]:
    """Start a probe on each node, on a new bridge; `end` removes both."""
    network = end.enter_context(temporary(proof))
    names = {node: probes.new_name(proof, node) for node in proof.cluster.nodes}

    def start(node: Node) -> Probe:
        network.make(node, "bridge")
        probe = probes.start(proof, node, network.name, names[node])
        end.callback(probe.close)
        return probe

    def remove() -> None:
        in_parallel(lambda node: probes.remove(proof, node, names[node]), proof.cluster.nodes)

    end.callback(remove)
    return in_parallel(start, proof.cluster.nodes)


def kept_apart(insiders: Sequence[Probe], outsiders: Sequence[Probe], networks: str) -> Iterator[Outcome]:
    """Let each probe ping all probes of the other network, after each insider has reached the next one."""
    for source, target in zip(insiders, [*insiders[1:], insiders[0]], strict=True):
        if target.address not in source.reach(target.address):
            told = f"{networks}: nothing is proven, because {source.name} does not reach its own network"
            yield failed(source.node.name, told, "fab verify --only overlay/containers")
            return
    everybody = [(source, outsiders) for source in insiders] + [(source, insiders) for source in outsiders]
    with ThreadPoolExecutor(len(everybody)) as pool:
        reached = list(pool.map(lambda one: _answered(*one), everybody))
    for node in dict.fromkeys(source.node for source, _ in everybody):
        answers = [
            target for (source, _), got in zip(everybody, reached, strict=True) if source.node == node for target in got
        ]
        if answers:
            told = f"{networks}: reached across: {', '.join(answers)}"
            yield failed(node.name, told, "is a container on both networks?")
        else:
            yield passed(node.name, f"{networks}: no answer across, by address or by name; each network's own answer")


def _answered(source: Probe, targets: Sequence[Probe]) -> list[str]:
    words = [word for target in targets for word in (target.address, target.name)]
    said = source.run(_KNOCK, *words).split()
    return [word for word in words if word in said]
