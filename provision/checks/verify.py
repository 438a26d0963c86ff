"""Run the checks of `verify`. Each observes the running cluster, and removes what it created."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from provision.checks import orphans
from provision.checks.proof import Proof, Shared
from provision.checks.suites import app, docker, moves, networks, overlay, traffic
from provision.client_errors import explained
from provision.core.check import Check, collect
from provision.core.outcome import Outcome, not_tried

CHECKS = collect(overlay, networks, traffic, moves, docker, app)
#: Whether a check holds on which others depend, by its name.
Holds = Mapping[str, "Future[bool]"]
ORPHANS = Check("docker", "leftovers", orphans.remove)


def run(proof: Proof, chosen: Sequence[Check]) -> tuple[Outcome, ...]:
    """Remove what killed runs left, then run the suites in parallel. Return the outcomes in the order of the checks.

    A check is not tried if one that it needs is chosen too, and has failed.
    """
    left = _run_check(ORPHANS, proof)
    suites = {check.suite: [one for one in chosen if one.suite == check.suite] for check in chosen}
    needed = {name for check in chosen for name in check.needs}
    holds: Holds = {str(check): Future() for check in chosen if str(check) in needed}
    with ThreadPoolExecutor(max(1, len(suites))) as pool:
        # The last suites start first, because their containers take Docker longest to start.
        begun = {name: pool.submit(_run_suite, suites[name], proof, holds) for name in reversed(suites)}
        by_suite = [begun[name].result() for name in suites]
    return tuple(outcome for outcomes in (left, *by_suite) for outcome in outcomes)


def _run_suite(checks: Sequence[Check], proof: Proof, holds: Holds) -> list[Outcome]:
    own = replace(proof, shared={})
    outcomes: list[Outcome] = []
    for check in checks:
        seen: Sequence[Outcome] = ()
        try:
            seen = _not_tried(check, holds) or _run_check(check, own)
        finally:
            if str(check) in holds:
                holds[str(check)].set_result(bool(seen) and all(one.status == "passed" for one in seen))
        outcomes += seen
    return outcomes + [outcome for thing in own.shared.values() for outcome in _close(checks[-1], thing)]


def _not_tried(check: Check, holds: Holds) -> tuple[Outcome, ...]:
    """Wait for the checks that this one needs. Return an outcome if one of them has failed, or was not tried."""
    broken = next((name for name in check.needs if name in holds and not holds[name].result()), "")
    if not broken:
        return ()
    outcome = not_tried("cluster", f"{broken} does not hold", "mend that first")
    return (replace(outcome, check=str(check), about=check.about),)


def _close(last: Check, thing: Shared) -> Iterator[Outcome]:
    """Remove what the checks of a suite shared. If something stays, the suite's last check has failed."""
    try:
        thing.close()
    except Exception as error:
        problem = explained(error)
        what = f"not everything was removed: {problem.what}"
        yield Outcome(str(last), problem.where, "failed", what, problem.advice)


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
        seconds, problem = time.monotonic() - started, explained(error)
        outcomes.append(Outcome(name, problem.where, "failed", problem.what, problem.advice, seconds, about=about))
    return outcomes
