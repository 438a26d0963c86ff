"""The proof: every check observes something for real, through tunnels, and takes away what it made."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provision.api import StoreError
from provision.checks import Outcome
from provision.checks.proof import CHECKS, Check, Observe, Proof
from provision.checks.suites import etcd, overlay, store  # noqa: F401  they register themselves
from provision.errors import Problem, StepFailed, UsageError


def run(proof: Proof, chosen: Sequence[Check]) -> tuple[Outcome, ...]:
    """Run the checks, the suites beside each other; outcomes in the order of the suites."""
    suites = {check.suite: [one for one in chosen if one.suite == check.suite] for check in chosen}
    with ThreadPoolExecutor(max(1, len(suites))) as pool:
        by_suite = list(pool.map(lambda checks: _run_suite(checks, proof), suites.values()))
    return tuple(outcome for outcomes in by_suite for outcome in outcomes)


def quick() -> list[Check]:
    """Return what is proven after every provision."""
    return [check for check in CHECKS if check.quick]


def choose(only: str, skip: str) -> list[Check]:
    """Return the checks whose `suite/name` the one expression finds and the other does not; empty ones are passed over.

    UsageError where an expression is none, or nothing is left.
    """
    try:
        wanted, unwanted = re.compile(only or ""), re.compile(skip or r"(?!)")
    except re.error as error:
        raise UsageError(Problem(f"{error.pattern!r} is no regular expression: {error}", "--only, --skip")) from None
    chosen = [check for check in CHECKS if wanted.search(str(check)) and not unwanted.search(str(check))]
    if not chosen:
        names = ", ".join(map(str, CHECKS))
        raise UsageError(Problem("no check is left", "--only, --skip", f"there are: {names}"))
    return chosen


def _run_suite(checks: Sequence[Check], proof: Proof) -> list[Outcome]:
    return [outcome for check in checks for outcome in _run_check(str(check), check.observe, proof)]


def _run_check(name: str, function: Observe, proof: Proof) -> Sequence[Outcome]:
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
