"""The proof: every check observes something for real, through tunnels, and takes away what it made."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provision.api import StoreError
from provision.checks import Outcome
from provision.checks.proof import SUITES, Check, Proof
from provision.checks.suites import etcd, overlay  # noqa: F401  they register themselves
from provision.errors import StepFailed


def run(proof: Proof) -> tuple[Outcome, ...]:
    """Run every suite, the suites beside each other; outcomes in the order of the suites.

    The run lock is held by the caller, so whatever carries our label was left by a run that is dead.
    """
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
