"""verify: prove that the cluster works, and that no change is pending."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision import engine
from provision.checks import catalogue
from provision.core.check import matching
from provision.core.outcome import Outcome, failures
from provision.core.plan import Plan
from provision.core.plane import Goal, Plane
from provision.core.situation import Situation
from provision.report import Report
from provision.verbs.session import Session
from provision.verbs.steps import (
    NOT_PROVISIONED,
    changes,
    entered,
    is_provisioned,
    modules,
    nodes,
    proof_report,
    proven,
    stages_to,
    warned,
)

#: The number of pending changes that the outcome names.
NAMED = 3


def run_verify(session: Session, *, only: str, skip: str, ignore: Sequence[str]) -> Report:
    """Run the chosen checks, unless the cluster has no quorum. Pending changes and a lost quorum are failures too."""
    ignored = session.ignored(ignore)
    matching(catalogue.of_verify(*session.candidates), only, skip)  # refuses a wrong expression before any connection
    with session.survey("verify", modules(session), shared=True) as (remotes, situation):
        chosen = matching(catalogue.of_verify(session.plane), only, skip)
        warnings = warned(session, situation, ignored)
        if not is_provisioned(session.plane, situation):
            nothing = Outcome("plan/nothing-pending", "cluster", "failed", NOT_PROVISIONED, "fab provision")
            return proof_report(session, "verify", NOT_PROVISIONED, Plan(), (nothing,), warnings)
        first, *_ = stages_to(session, Goal.CONVERGE)(situation)
        plan = engine.make_plan(session.plane, entered(session, situation, remotes, first))
        if stops := tuple(_stops(session.plane, situation)):
            outcomes = (as_planned(plan), *stops)
        else:
            with session.coordinator(remotes, situation) as coordinator:
                outcomes = (as_planned(plan), *proven(session, situation, coordinator, chosen))
    bad = len(list(failures(outcomes)))
    untried = sum(outcome.status == "warning" for outcome in outcomes)
    told = f"{bad} of {len(outcomes)} checks failed" if bad else f"all {len(outcomes) - untried} checks passed"
    words = f"{told}{'' if bad else f' on {nodes(session)}'}{f', {untried} not tried' if untried else ''}"
    return proof_report(session, "verify", words, plan, outcomes, warnings)


def _stops(plane: Plane, situation: Situation) -> Iterator[Outcome]:
    """Yield a failed outcome for each reason for which no check could pass."""
    reasons = {"certificate": plane.unasked(situation), "quorum": plane.outage(situation)}
    for name, problems in reasons.items():
        for one in problems:
            yield Outcome(f"{plane.name}/{name}", one.where or "cluster", "failed", one.what, one.advice)


def as_planned(plan: Plan) -> Outcome:
    """Return the outcome that nothing is pending; a failed one names the first changes. Pure."""
    if len(plan):
        named = "; ".join(f"{one.where}: {one.action} {one.resource}" for one in plan.changes[:NAMED])
        more = f"; and {len(plan) - NAMED} more" if len(plan) > NAMED else ""
        advice = "fab plan, then fab provision"
        return Outcome("plan/nothing-pending", "cluster", "failed", f"{changes(plan)} pending: {named}{more}", advice)
    return Outcome("plan/nothing-pending", "cluster", "passed", "every node is as the inventory says")
