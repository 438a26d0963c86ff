"""What a check of the proof works with, and how it says what it saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from provision.api import Clients
from provision.checks import Outcome
from provision.inventory.model import Cluster

#: The label of everything that a run makes to prove something; its value is the run's ID.
RUN_LABEL = "overlay-provision.run"
#: The folder of every key that a run writes to prove something.
KEYS = "/overlay-provision"


@dataclass(frozen=True)
class Proof:
    """What a check works with. `run` marks everything it makes."""

    cluster: Cluster
    clients: Clients
    run: str


Check = Callable[[Proof], Iterator[Outcome]]
Suite = dict[str, Check]
SUITES: dict[str, Suite] = {}


def check(suite: str) -> Callable[[Check], Check]:
    """Register a check in a suite, under the name of its function."""

    def register(function: Check) -> Check:
        SUITES.setdefault(suite, {})[function.__name__.replace("_", "-")] = function
        return function

    return register


def passed(where: str, evidence: str) -> Outcome:
    """Say what was seen."""
    return Outcome("", where, "passed", evidence)


def failed(where: str, evidence: str, advice: str) -> Outcome:
    """Say what was seen instead."""
    return Outcome("", where, "failed", evidence, advice)
