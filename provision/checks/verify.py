"""Run the checks of `verify`. Each observes the running cluster, and removes what it created."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provision.checks import orphans
from provision.checks.proof import Proof, Shared, reason
from provision.checks.suites import app, docker, moves, networks, overlay, traffic
from provision.core.check import Check, collect
from provision.core.outcome import Outcome

CHECKS = collect(overlay, networks, traffic, moves, docker, app)
ORPHANS = Check("docker", "leftovers", orphans.remove)


def run(proof: Proof, chosen: Sequence[Check]) -> tuple[Outcome, ...]:
    """Remove what killed runs left, then run the suites in parallel. Return the outcomes in the order of the checks."""
    left = _run_check(ORPHANS, proof)
    suites = {check.suite: [one for one in chosen if one.suite == check.suite] for check in chosen}
    with ThreadPoolExecutor(max(1, len(suites))) as pool:
        # The last suites start first, because their containers take Docker longest to start.
        begun = {name: pool.submit(_run_suite, suites[name], proof) for name in reversed(suites)}
        by_suite = [begun[name].result() for name in suites]
    return tuple(outcome for outcomes in (left, *by_suite) for outcome in outcomes)


def _run_suite(checks: Sequence[Check], proof: Proof) -> list[Outcome]:
    own = replace(proof, shared={})
    outcomes = [outcome for check in checks for outcome in _run_check(check, own)]
    return outcomes + [outcome for thing in own.shared.values() for outcome in _close(checks[-1], thing)]


def _close(last: Check, thing: Shared) -> Iterator[Outcome]:
    """Remove what the checks of a suite shared. If something stays, the suite's last check has failed."""
    try:
        thing.close()
    except Exception as error:
        yield Outcome(str(last), "cluster", "failed", f"not everything was removed: {reason(error)}", "fab status")


def _run_check(check: Check, proof: Proof) -> Sequence[Outcome]:
    started = time.monotonic()
    name, about = str(check), check.about
    outcomes: list[Outcome] = []
    try:
        for outcome in check(proof):
            moment = time.monotonic()
            outcomes.append(replace(outcome, check=name, about=about, seconds=round(moment - started, 3)))
            started = moment
    except Exception as error:  # whatever a daemon or its client raises, only this check fails
        seconds = time.monotonic() - started
        outcomes.append(Outcome(name, "cluster", "failed", reason(error), "fab status", seconds, about=about))
    return outcomes
