"""What a person should know of what was done: nodes and the cluster tell it, and the report has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cluster_sample import bare_situation
from pki_sample import sample
from swarm_sample import NODES, listed

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator, Plane
from provision.core.resource import Difference, Resource
from provision.core.situation import Situation
from provision.engine import carry_out, make_plan
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.planes.swarm import view
from provision.planes.swarm.phases.recover import struck_off
from provision.report.progress import Progress


class Step(Resource):
    """A step of every node."""

    name = "step"

    def compare(self, facts: Facts) -> Difference | None:
        return Difference("add")

    def apply(self, difference: Difference) -> str:
        return "note something"


class Told(Phase):
    """Nodes and the cluster change, and tell something."""

    name = "told"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        return (Step(),)

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        return (Change(CLUSTER, self.name, "entry", "remove"),)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> tuple[Problem, ...]:
        return (Problem("removed for good", CLUSTER),)


def printing(stderr: str, node: Node) -> Any:
    """A node on which every script prints this."""
    return SimpleNamespace(node=node, run=lambda *_, **__: SimpleNamespace(code=0, stdout="recorded\n", stderr=stderr))


def test_340_what_nodes_and_the_cluster_tell_is_noted_for_the_report(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))

    def each(work: Callable[[Any], None], nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            work(printing(f"WARNING: no note\nnote: {node.name} has lost a network\n", node))

    plane = cast("Plane", SimpleNamespace(phases=(Told(),), blockers=lambda _: ()))
    coordinator = cast("Coordinator", SimpleNamespace(remotes=SimpleNamespace(each=each, check_lock=lambda: None)))
    progress = Progress(live=False)
    carry_out(plane, situation, make_plan(plane, situation), coordinator, progress)
    names = [node.name for node in situation.cluster.nodes]
    expected = [Problem(f"{name} has lost a network", name) for name in names]
    assert progress.notes == [*expected, Problem("removed for good", CLUSTER)]


def test_340_nodes_that_were_struck_off_a_swarm_are_named() -> None:
    """Also those that the inventory does not have."""
    entries = tuple(view.entry(listed(node)) for node in NODES[1:])
    (problem,) = struck_off(entries)
    assert problem.what == "removed from the swarm for good: node2 (192.0.2.2, manager), node3 (192.0.2.3, worker)"
    assert struck_off(()) == ()
