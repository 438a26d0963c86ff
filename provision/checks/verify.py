"""The proof: every check observes something for real, through tunnels, and takes away what it made."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provision.checks import Outcome, leftovers
from provision.checks.proof import CHECKS, Check, Observe, Proof, Shared, reason
from provision.checks.suites import (  # noqa: F401  they register themselves
    app,
    custody,
    docker,
    endpoints,
    etcd,
    moves,
    networks,
    overlay,
    security,
    store,
    traffic,
)
from provision.errors import Problem, UsageError


def run(proof: Proof, chosen: Sequence[Check]) -> tuple[Outcome, ...]:
    """Remove what killed runs left, then run the checks, the suites beside each other; outcomes in their order."""
    left = _run_check("docker/leftovers", leftovers.remove, proof)
    suites = {check.suite: [one for one in chosen if one.suite == check.suite] for check in chosen}
    with ThreadPoolExecutor(max(1, len(suites))) as pool:
        # Those whose containers Docker takes a while to start go first.
        begun = {name: pool.submit(_run_suite, suites[name], proof) for name in reversed(suites)}
        by_suite = [begun[name].result() for name in suites]
    return tuple(outcome for outcomes in (left, *by_suite) for outcome in outcomes)


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
    own = replace(proof, shared={})
    outcomes = [outcome for check in checks for outcome in _run_check(str(check), check.observe, own)]
    return outcomes + [outcome for thing in own.shared.values() for outcome in _close(checks[-1], thing)]


def _close(last: Check, thing: Shared) -> Iterator[Outcome]:
    """Take away what the checks of a suite shared; what stays is a failure of the last one."""
    try:
        thing.close()
    except Exception as error:
        yield Outcome(str(last), "cluster", "failed", f"not all was taken away: {reason(error)}", "fab status")


def _run_check(name: str, function: Observe, proof: Proof) -> Sequence[Outcome]:
    started = time.monotonic()
    outcomes: list[Outcome] = []
    try:
        for outcome in function(proof):
            moment = time.monotonic()
            outcomes.append(replace(outcome, check=name, seconds=round(moment - started, 3)))
            started = moment
    except Exception as error:  # whatever a daemon or its client says, it is this check that fails
        outcomes.append(Outcome(name, "cluster", "failed", reason(error), "fab status", time.monotonic() - started))
    return outcomes
