"""What a check is, what it looks at, and the run of all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from provision.artifact import UNKNOWN
from provision.checks import Outcome
from provision.control_plane import ControlPlane
from provision.errors import Problem, UsageError
from provision.facts import Facts
from provision.inventory.model import Node
from provision.situation import Situation


@dataclass(frozen=True)
class Scene:
    """What a check looks at: one node among the others."""

    plane: ControlPlane
    situation: Situation
    node: Node

    @property
    def facts(self) -> Facts:
        """What is so on this node."""
        return self.situation.of(self.node)

    def value(self, name: str) -> str:
        """Return a surveyed value, empty where there is none."""
        return self.facts.values.get(name, "")

    @property
    def others(self) -> tuple[Node, ...]:
        """The nodes before this one: what clashes is said once."""
        nodes = self.situation.cluster.nodes
        return nodes[: nodes.index(self.node)]


Check = Callable[[Scene], Iterator[Problem]]
CHECKS: dict[str, Check] = {}
_OF_THE_RELEASE: set[str] = set()


def check(function: Check) -> Check:
    """Register a check under the name of its function."""
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


def check_of_release(function: Check) -> Check:
    """Register a check that has nothing to look at where the release is not as it should be."""
    _OF_THE_RELEASE.add(function.__name__.replace("_", "-"))
    return check(function)


def choose(names: Collection[str]) -> frozenset[str]:
    """Return the checks to ignore, by name. UsageError with the names there are."""
    problems = []
    for name in names:
        if name not in CHECKS:
            near = get_close_matches(name, CHECKS, 1)
            advice = f"did you mean {near[0]}? " if near else ""
            problems.append(
                Problem(f"--ignore {name}: there is no such check", advice=f"{advice}there are: {', '.join(CHECKS)}")
            )
    if problems:
        raise UsageError(*problems)
    return frozenset(names)


def run(plane: ControlPlane, situation: Situation, ignored: Collection[str] = ()) -> tuple[Outcome, ...]:
    """Run every check on every node that was asked; those ignored, by name, only warn. Pure."""
    passed_over = _OF_THE_RELEASE if situation.artifact == UNKNOWN else frozenset()
    return tuple(
        outcome
        for node in situation.cluster.nodes
        if node.name in situation.facts
        for name, function in CHECKS.items()
        if name not in passed_over
        for outcome in _outcomes(name, function, Scene(plane, situation, node), ignored=name in ignored)
    )


def _outcomes(name: str, function: Check, scene: Scene, *, ignored: bool) -> list[Outcome]:
    problems = list(function(scene))
    where = scene.node.name
    if not problems:
        return [Outcome(name, where, "passed", "as it should be")]
    if ignored:
        return [Outcome(name, where, "warning", f"{p.what} (ignored: --ignore {name})", p.advice) for p in problems]
    return [Outcome(name, where, "failed", problem.what, problem.advice) for problem in problems]


def version_of(text: str) -> str:
    """Return the first version in a program's own words, empty where there is none."""
    found = re.search(r"\d+\.\d+\.\d+", text)
    return found[0] if found else ""
