"""Differences of one node from a good one, and what preflight says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cluster_sample import bare_situation, changed, with_values
from pki_sample import sample

from provision.checks import catalogue, node_view
from provision.core import outcome
from provision.core.outcome import Outcome
from provision.core.situation import Situation
from provision.facts import Facts, Listener
from provision.planes.etcd.plane import PLANE

Change = Callable[[Facts], Facts]
values = with_values


def listens(protocol: str, port: int, owner: str, unit: str = "") -> Change:
    return lambda facts: replace(facts, listeners=(*facts.listeners, Listener(protocol, "0.0.0.0", port, owner, unit)))


def docker(version: str) -> Change:
    return values(dockerd=f"Docker version {version}, build 1")


def failures(situation: Situation) -> list[Outcome]:
    return list(outcome.failures(node_view.run(PLANE, situation, catalogue.of_preflight(PLANE))))


def obstacle(folder: Path, change: Change, check: str, where: str = "node2") -> Outcome:
    """What is said of bare hosts of which one is otherwise: one thing, by this check, there, with advice."""
    (found,) = failures(changed(bare_situation(sample(folder)), where, change))
    assert (found.check, found.where) == (check, where)
    assert found.advice
    return found
