"""Docker upgraded: one node at a time, and the next one when the cluster is whole again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from provision.core.phase import Phase, Wave
from provision.core.plan import Change
from provision.core.plane import Stage
from provision.core.situation import Situation
from provision.facts import Question, join
from provision.inventory.model import Cluster, Node
from provision.phases import gate
from provision.resources import Resource
from provision.resources import Upgrade as Package

if TYPE_CHECKING:
    from provision.core.plane import Coordinator

NAME = "upgrade"


class Upgrade(Phase):
    """The version of Docker that the inventory names. A node in the cluster is alone, and waited for."""

    name = NAME

    def __init__(
        self,
        is_in: Callable[[Situation, Node], bool],
        rank: Callable[[Situation, Node], int],
        costs: Callable[[Situation, Node], str],
    ) -> None:
        """`is_in`: whether a node is in the running cluster. `rank`: those of a low rank go first. `costs`: what it
        means for the cluster that a node's dockerd is away."""
        self._is_in, self._rank, self._costs = is_in, rank, costs

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the package in the stage that upgrades: in others no node waits for another."""
        if NAME not in situation.only:
            return ()
        costs = self._costs(situation, node) if self._is_in(situation, node) else ""
        return tuple(replace(one, costs=costs) for one in package(situation.cluster))

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Nodes that are not in the cluster go first, at once; then one after another."""
        touched = [node for node in situation.cluster.nodes if changes.get(node.name)]
        alone = [node for node in touched if self._is_in(situation, node)]
        together = tuple(node for node in touched if node not in alone)
        return (together, *((node,) for node in sorted(alone, key=lambda node: self._rank(situation, node))))

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """The whole cluster is well, also where a run was killed after an upgrade."""
        self._await(situation, coordinator, wave, "before the upgrade", all_nodes=True)

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """The node is wholly back, and so are its containers."""
        self._await(situation, coordinator, wave, "after the upgrade", all_nodes=False)

    def _await(self, situation: Situation, coordinator: Coordinator, wave: Wave, when: str, *, all_nodes: bool) -> None:
        away = tuple(node for node in wave if self._is_in(situation, node))
        if away:
            there = tuple(node for node in situation.cluster.nodes if self._is_in(situation, node))
            coordinator.await_back(situation, there if all_nodes else away)
            gate.await_containers(situation, coordinator, f"{when} on {away[0].name}", () if all_nodes else away)


def package(cluster: Cluster) -> tuple[Package, ...]:
    """Return the package of Docker, if the inventory names a version of it."""
    engine = cluster.docker_engine
    return (Package(engine.package, engine.version),) if engine.version and not engine.archives else ()


def question(cluster: Cluster) -> Question:
    """Return what a node is asked for an upgrade, which is in no stage that is asked for."""
    return join(one.question() for one in package(cluster))


def stages(situation: Situation, others: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages of a run: first Docker is upgraded, if it has to be, and then the others.

    They are planned when their turn comes: another Docker may have another command line.
    """
    wanted = package(situation.cluster)
    if not any(one.compare(situation.of(node)) for one in wanted for node in situation.cluster.nodes):
        return tuple(others)

    def upgrade(now: Situation) -> Situation:
        return replace(now, only=frozenset({NAME}))

    first, *rest = (_later(stage) for stage in others)
    title = first.title or "what the upgraded Docker needs, and all else"
    return (Stage(upgrade, foresee=upgrade), replace(first, title=title), *rest)


def _later(stage: Stage) -> Stage:
    def enter(now: Situation) -> Situation:
        return stage.enter(replace(now, only=frozenset()))

    def foresee(now: Situation) -> Situation:
        return stage.foresee(replace(now, only=frozenset()))

    return replace(stage, enter=enter, foresee=foresee)
