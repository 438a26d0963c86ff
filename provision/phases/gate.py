"""Whether containers are well again after their dockerd was away: before that, the next node's may not go.

A container is well if it runs and answers by name from another node: "Up" proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision import waiting
from provision.core.resource import call
from provision.core.situation import Situation
from provision.errors import Unanswered
from provision.inventory.model import Node
from provision.node import library
from provision.resources import keeper_name

if TYPE_CHECKING:
    from provision.core.plane import Coordinator

#: Seconds until all containers answer: gossip that failed tries again after 60 s, and what Docker gave up is started
#: again by overlay-mend.
SECONDS = 130
#: Seconds for which all have to be well: one that ends at each start runs for a moment again and again.
STEADY = 3.0
ADVICE = (
    "on that node: docker ps -a, docker logs NAME, journalctl -u docker.service -u overlay-mend.service; "
    "once it answers, run this again: it goes on with the next node"
)


@dataclass(frozen=True)
class Found:
    """A container as its node's Docker has it now.

    `error`: why Docker could not start it. `is_cut_off`: because it could not connect it to a network.
    """

    node: str
    name: str
    runs: bool
    comes_back: bool
    networks: frozenset[str] = frozenset()
    is_cut_off: bool = False
    error: str = ""


def unwell(ran: Collection[tuple[str, str]], found: Collection[Found]) -> Iterator[str]:
    """Yield which container does not run, where, and why. Pure.

    It ran before its dockerd was away (`ran`, by node and name), or Docker could not connect it to a network; and its
    restart policy lets it come back. One that its user stopped meanwhile on another node is no matter, and neither is
    one that could never start, for example because its program is missing.
    """
    for one in found:
        if not one.runs and one.comes_back and (one.is_cut_off or (one.node, one.name) in ran):
            yield f"{one.name} does not run on {one.node}" + (f": {one.error}" if one.error else "")


def questions(found: Collection[Found], situation: Situation, node: Node) -> Mapping[str, tuple[str, ...]]:
    """Return, by a keeper that a node has, the containers on other nodes that it asks by name. Pure."""
    here = {one.name for one in found if one.node == node.name}
    names = {
        network.name: {one.name for one in found if one.runs and network.name in one.networks and one.node != node.name}
        for network in situation.cluster.networks
    }
    asked = {keeper_name(network, node.name): tuple(sorted(there)) for network, there in names.items() if there}
    return {keeper: there for keeper, there in asked.items() if keeper in here}


def silent(
    found: Collection[Found], asked: Mapping[str, tuple[str, ...]], node: Node, answer: Sequence[str]
) -> Iterator[str]:
    """Yield who did not answer a node's keepers. Pure. `answer`: `KEEPER all` where it could ask, `KEEPER NAME`."""
    places: dict[str, list[str]] = {}
    for one in found:
        places.setdefault(one.name, []).append(one.node)
    for keeper, names in asked.items():
        if f"{keeper}\t." not in answer:
            yield f"{keeper} on {node.name} cannot be asked"
        for name in names:
            if f"{keeper}\t{name}" in answer:
                yield f"{name} on {' and '.join(places[name])} does not answer {keeper} on {node.name} by name"


def await_containers(
    situation: Situation, coordinator: Coordinator, occasion: str, nodes: Sequence[Node], wave: Sequence[Node] = ()
) -> None:
    """Return once what ran on the nodes of a wave that was away runs, and all containers answer by name from every
    other node. `nodes`: those in the cluster. StepFailed, bounded."""
    where = ", ".join(node.name for node in wave) or "cluster"
    ran = frozenset((node.name, one.name) for node in wave for one in situation.of(node).containers)

    def attempt() -> None:
        found = _listed(coordinator, nodes)
        trouble = [*unwell(ran, found), *_silent(found, situation, coordinator, nodes)]
        if trouble:
            raise Unanswered("; ".join(trouble))

    what = f"all containers run and answer {occasion}"
    steady = STEADY if ran else 0.0
    waiting.until(attempt, what, where, ADVICE, steady=steady, seconds=SECONDS)


def _listed(coordinator: Coordinator, nodes: Sequence[Node]) -> tuple[Found, ...]:
    """Ask these nodes' Docker for its containers."""
    script = f"{library('start_errors', 'gate')}\nlist_containers\n"
    found = []
    for name, answer in _run(coordinator, {node.name: script for node in nodes}).items():
        for line in answer:
            container, state, policy, networks, cut_off, error = line.split("\t")
            comes_back = policy not in ("", "no")
            there = frozenset(networks.split(","))
            runs = state == "running"
            found.append(Found(name, container.lstrip("/"), runs, comes_back, there, cut_off == "cut-off", error))
    return tuple(found)


def _silent(
    found: Collection[Found], situation: Situation, coordinator: Coordinator, nodes: Sequence[Node]
) -> Iterator[str]:
    """Let each node's keepers ask for the containers of all other nodes; yield who did not answer."""
    asked = {node.name: there for node in nodes if (there := questions(found, situation, node))}
    scripts = {
        name: "\n".join(
            [
                library("start_errors", "gate"),
                *(call("ask_names", keeper, *names) for keeper, names in there.items()),
                "",
            ]
        )
        for name, there in asked.items()
    }
    answers = _run(coordinator, scripts)
    for node in nodes:
        yield from silent(found, asked.get(node.name, {}), node, answers.get(node.name, ()))


def _run(coordinator: Coordinator, scripts: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """Run a script on each of these nodes at once, and return their lines. Unanswered if one fails."""
    nodes = tuple(node for node in coordinator.cluster.nodes if node.name in scripts)
    answers = coordinator.remotes.each(lambda remote: remote.run(scripts[remote.node.name], timeout=60), nodes)
    for name, answer in answers.items():
        if answer.code:
            raise Unanswered(f"Docker on {name} does not answer: {answer.stderr.strip()[-400:]}")
    return {name: answer.stdout.splitlines() for name, answer in answers.items()}
