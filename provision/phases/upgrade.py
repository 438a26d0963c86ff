"""Docker upgraded: one node at a time, and the next one when the cluster is whole again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from provision.core.phase import Phase, Wave
from provision.core.plan import Change
from provision.core.plane import Stage, after_preparation
from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Question
from provision.facts.installed import installed
from provision.inventory.model import Cluster, Node
from provision.node import library
from provision.phases import gate
from provision.phases.installation import archive_for, is_missing, needed
from provision.resources import Resource
from provision.resources import Upgrade as Engine
from provision.versions import version_of

if TYPE_CHECKING:
    from provision.core.plane import Coordinator
    from provision.remote import Remotes

#: What the stages after the upgrade do, for one that says nothing itself.
TITLE = "what the upgraded Docker needs, and all else"


class Upgrade(Phase):
    """The version of Docker that the inventory names. A node in the cluster is alone, and waited for."""

    name = "upgrade"
    prepares = True
    waits_for = "the whole cluster"
    seconds = 1200

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
        """Return Docker in the stage that prepares hosts. In other stages nodes do not wait for each other."""
        if not situation.preparing or not (one := engine(situation, node)):
            return ()
        return (replace(one, costs=self._costs(situation, node) if self._is_in(situation, node) else ""),)

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """Nodes that are not in the cluster go first, at once; then one after another."""
        touched = [node for node in situation.cluster.nodes if changes.get(node.name)]
        alone = [node for node in touched if self._is_in(situation, node)]
        together = tuple(node for node in touched if node not in alone)
        return (together, *((node,) for node in sorted(alone, key=lambda node: self._rank(situation, node))))

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """The whole cluster is well, also where a run was killed after an upgrade."""
        if any(self._is_in(situation, node) for node in wave):
            there = self._there(situation)
            coordinator.await_back(situation, there)
            gate.await_containers(situation, coordinator, f"before the upgrade of {wave[0].name}", there)

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """The node is wholly back, and so are its containers."""
        if any(self._is_in(situation, node) for node in wave):
            coordinator.await_back(situation, wave)
            occasion = f"after the upgrade of {wave[0].name}"
            gate.await_containers(situation, coordinator, occasion, self._there(situation), wave)

    def _there(self, situation: Situation) -> tuple[Node, ...]:
        return tuple(node for node in situation.cluster.nodes if self._is_in(situation, node))


def engine(situation: Situation, node: Node) -> Engine | None:
    """Return the Docker that a node with another one should have; None if any will do."""
    wanted = situation.cluster.docker_engine
    if wanted.archives:
        archive = archive_for(situation, node)
        return Engine("", archive.version, archive) if archive else None
    return Engine(wanted.package, wanted.version) if wanted.version else None


def coming(situation: Situation, node: Node) -> str:
    """Return the version that a node's Docker is to be upgraded to; empty if it stays."""
    wanted, there = engine(situation, node), installed(situation.of(node))
    if wanted is None or is_missing(situation, node) or not there.is_older(wanted.version):
        return ""
    return version_of(there.best(wanted.version)) or wanted.version


def room(situation: Situation, node: Node) -> Mapping[str, tuple[str, int]]:
    """Return the folders that an upgrade writes to on a node: for what, and how many bytes."""
    return needed(situation, node) if coming(situation, node) else {}


def by_hand(situation: Situation) -> tuple[Problem, ...]:
    """Say on which nodes Docker has another version than when a run has last started or proven it."""
    found = []
    for name in changed(situation):
        values = situation.facts[name].values
        was, now = (version_of(values[key]) for key in ("dockerd-before", "dockerd"))
        what = f"Docker was {was} here and is {now}, which no run of ours has done: the cluster is proven with it"
        found.append(Problem(what, name, "fab provision, or fab verify"))
    return tuple(found)


def changed(situation: Situation) -> tuple[str, ...]:
    """Return the nodes with another version of Docker than when a run has last started or proven it."""
    return tuple(
        name
        for name, facts in situation.facts.items()
        if (was := version_of(facts.values.get("dockerd-before", "")))
        and was != version_of(facts.values.get("dockerd", ""))
    )


def note_proven(situation: Situation, remotes: Remotes) -> None:
    """Let the nodes remember the version that was just proven."""
    script = f'{library()}\nstamp "$(command -v dockerd)" "$(dockerd --version)"\n'
    nodes = tuple(node for node in situation.cluster.nodes if node.name in changed(situation))
    remotes.each(lambda remote: remote.run(script, what="noting Docker's version"), nodes)


def question(cluster: Cluster) -> Question:
    """Return what a node is asked for an upgrade: the stage that prepares hosts is not asked for."""
    wanted = cluster.docker_engine
    if not wanted.version and not wanted.archives:
        return Question()
    return Engine(wanted.package, wanted.version).question()


def stages(situation: Situation, following: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the stages that follow, after one that upgrades Docker where it is older than wanted.

    They are planned when their turn comes: another Docker may have another command line.
    """
    nodes = situation.cluster.nodes
    if not any((one := engine(situation, node)) and one.compare(situation.of(node)) for node in nodes):
        return tuple(following)
    return after_preparation(following, TITLE)
