"""The proof: every check observes something for real, through tunnels, and takes away what it made."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from provision.api import Clients, StoreError
from provision.checks import Outcome
from provision.errors import StepFailed
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


def run(proof: Proof) -> tuple[Outcome, ...]:
    """Run every suite, the suites beside each other; outcomes in the order of the suites.

    The run lock is held by the caller, so whatever carries our label was left by a run that is dead.
    """
    from provision.checks import overlay, store  # noqa: F401  they register themselves

    with ThreadPoolExecutor(len(SUITES)) as pool:
        by_suite = list(pool.map(lambda name: _run_suite(name, proof), SUITES))
    return tuple(outcome for outcomes in by_suite for outcome in outcomes)


def _run_suite(suite: str, proof: Proof) -> list[Outcome]:
    return [
        outcome
        for name, function in SUITES[suite].items()
        for outcome in _run_check(f"{suite}/{name}", function, proof)
    ]


def _run_check(name: str, function: Check, proof: Proof) -> Sequence[Outcome]:
    started = time.monotonic()
    outcomes: list[Outcome] = []
    try:
        for outcome in function(proof):
            moment = time.monotonic()
            outcomes.append(replace(outcome, check=name, seconds=round(moment - started, 3)))
            started = moment
    except Exception as error:  # whatever a daemon or its client says, it is this check that fails
        reason = _reason(error)
        outcomes.append(Outcome(name, "cluster", "failed", reason, "fab status", time.monotonic() - started))
    return outcomes


def _reason(error: Exception) -> str:
    if isinstance(error, StoreError | StepFailed):
        return str(error)
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text}"[:400]


def passed(where: str, evidence: str) -> Outcome:
    """Say what was seen."""
    return Outcome("", where, "passed", evidence)


def failed(where: str, evidence: str, advice: str) -> Outcome:
    """Say what was seen instead."""
    return Outcome("", where, "failed", evidence, advice)
