"""One node among the others, as a preflight check sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from provision.core import outcome
from provision.core.check import PREFLIGHT, Check
from provision.core.outcome import Outcome, passed
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.facts import Facts
from provision.inventory.model import Node
from provision.versions import version_of as version_of


@dataclass(frozen=True)
class NodeView:
    """The subject of a preflight check: facts and no connection, so that the check cannot change anything."""

    plane: Plane
    situation: Situation
    node: Node

    @property
    def facts(self) -> Facts:
        """The facts of this node."""
        return self.situation.of(self.node)

    def value(self, name: str) -> str:
        """Return one of the node's values; empty if there is none."""
        return self.facts.values.get(name, "")

    @property
    def others(self) -> tuple[Node, ...]:
        """The nodes listed before this one, so that a conflict of two nodes is reported once."""
        nodes = self.situation.cluster.nodes
        return nodes[: nodes.index(self.node)]

    def failed(self, what: str, advice: str = "") -> Outcome:
        """Return a failed outcome: what is wrong on this node, and what to do."""
        return outcome.failed(self.node.name, what, advice)


def run(
    plane: Plane, situation: Situation, checks: Sequence[Check], ignored: Collection[str] = ()
) -> tuple[Outcome, ...]:
    """Run every preflight check on every node that answered. Failures of checks in `ignored` are warnings. Pure."""
    return tuple(
        each
        for node in situation.cluster.nodes
        if node.name in situation.facts
        for check in checks
        if check.suite == PREFLIGHT
        for each in _outcomes(check, NodeView(plane, situation, node), ignored=check.name in ignored)
    )


def _outcomes(check: Check, view: NodeView, *, ignored: bool) -> Iterator[Outcome]:
    found = list(check(view)) or [passed(view.node.name, "no obstacle found")]
    for each in found:
        if ignored and each.status == "failed":
            each = replace(each, status="warning", evidence=f"{each.evidence} (ignored: --ignore {check.name})")
        yield replace(each, check=check.name, about=check.about)
