"""What a check of the proof works with, and how it says what it saw."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from provision.api import Clients, StoreError
from provision.checks import Outcome, Way
from provision.errors import StepFailed
from provision.facts import Marked
from provision.inventory.model import Cluster

#: The folder of every key that a run writes to prove something.
KEYS = "/overlay-provision"


class Shared(Protocol):
    """What several checks of a suite use."""

    def close(self) -> None:
        """Take it away."""


@dataclass(frozen=True)
class Proof:
    """What a check works with. `run` marks everything it makes; what another of the `living` marked is not touched.

    `left`: what runs marked that live no more, by node.
    `started`: containers of the inventory's networks that this run itself has started, which prove as much as a probe.
    What the checks of a suite share is made by the first that needs it, and closed after the last.
    """

    cluster: Cluster
    clients: Clients
    run: str
    living: frozenset[str] = frozenset()
    left: Mapping[str, Sequence[Marked]] = field(default_factory=dict)
    started: frozenset[str] = frozenset()
    shared: dict[str, Shared] = field(default_factory=dict, compare=False)


Observe = Callable[[Proof], Iterator[Outcome]]


@dataclass(frozen=True)
class Check:
    """One check of a suite. `quick` ones are made after every provision, the others by `verify` alone."""

    suite: str
    name: str
    observe: Observe
    quick: bool

    def __str__(self) -> str:
        """As --only and --skip match it: `etcd/one-leader`."""
        return f"{self.suite}/{self.name}"


CHECKS: list[Check] = []


def check(suite: str, *, quick: bool = False) -> Callable[[Observe], Observe]:
    """Register a check in a suite, under the name of its function."""

    def register(function: Observe) -> Observe:
        CHECKS.append(Check(suite, function.__name__.replace("_", "-"), function, quick))
        return function

    return register


def passed(where: str | Way, evidence: str) -> Outcome:
    """Say what was seen."""
    return Outcome("", str(where), "passed", evidence, way=where if isinstance(where, Way) else None)


def failed(where: str | Way, evidence: str, advice: str) -> Outcome:
    """Say what was seen instead."""
    way = replace(where, came=False) if isinstance(where, Way) else None
    return Outcome("", str(where), "failed", evidence, advice, way=way)


def not_tried(where: str, why: str, advice: str) -> Outcome:
    """Say why there was nothing to see."""
    return Outcome("", where, "warning", f"not tried: {why}", advice)


def reason(error: Exception) -> str:
    """Say on one line what a daemon, its client or the way to it said no with."""
    if isinstance(error, StoreError | StepFailed):
        return str(error)
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text}"[:400]
