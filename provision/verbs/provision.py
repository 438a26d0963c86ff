"""provision: every node as the inventory says, and the proof of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from provision import engine, gathering, planes
from provision.core.outcome import Outcome, failures
from provision.core.plan import Plan, joined
from provision.core.plane import Coordinator, Goal
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem, StepFailed
from provision.phases import upgrade
from provision.remote import Remotes
from provision.report import Report
from provision.verbs import steps
from provision.verbs.session import Session
from provision.verbs.steps import (
    Stages,
    consent,
    consent_to_more,
    entered,
    foreseen,
    looked_at,
    modules,
    proven,
    stages_to,
    warned,
)
from provision.waiting import attempts

#: For what comes back by itself after a restart of dockerd: our keepers, which a busy machine had not started at once.
SETTLE_SECONDS = 60


def run_provision(session: Session, *, yes: bool, ignore: Sequence[str]) -> Report:
    """Plan, carry the plan out, and prove the result."""
    goal = stages_to(session, Goal.CONVERGE)
    return converged(session, "provision", goal, yes=yes, ignored=session.ignored(ignore))


def converged(session: Session, verb: str, to_goal: Stages, *, yes: bool, ignored: Collection[str]) -> Report:
    """For each stage plan, carry the plan out, and see that nothing is left; prove the result of the last."""
    made = Plan()
    with session.survey(verb, modules(session), absent=True) as (remotes, situation):
        situation, warnings = looked_at(session, situation, remotes, ignored)
        stages = to_goal(situation)
        later = foreseen(session, situation, remotes, stages)
        situation = entered(session, situation, remotes, stages[0])
        plan = engine.make_plan(session.plane, situation)
        consent(session, joined([plan, *later]), yes=yes)
        for stage, named in zip(stages[1:], later, strict=True):
            with session.coordinator(remotes, situation) as coordinator:
                plan, situation = _carried_out(session, situation, plan, coordinator, yes=yes)
            made = joined([made, plan])
            situation = _waited_for(session, gathering.gather(session.plane, situation, remotes), remotes)
            _settled(session, situation)
            if situation.preparing:
                _looked_at_again(session, situation, ignored)
            situation = entered(session, situation, remotes, stage)
            plan = engine.make_plan(session.plane, situation)
            consent_to_more(session, plan, named, yes=yes)
        with session.coordinator(remotes, situation) as coordinator:
            plan, situation = _carried_out(session, situation, plan, coordinator, yes=yes)
            outcomes = proven_and_settled(session, situation, coordinator, plan)
    return _report(session, verb, joined([made, plan]), outcomes, warnings)


def _looked_at_again(session: Session, situation: Situation, ignored: Collection[str]) -> None:
    """Only now a Docker that was missing can be looked at. StepFailed with each obstacle: something was changed."""
    try:
        warned(session, situation, ignored)
    except PreflightRefused as error:
        done = Problem("Docker is installed or upgraded", "cluster", "mend this and run provision again")
        raise StepFailed(*error.problems, done) from None


def proven_and_settled(
    session: Session, situation: Situation, coordinator: Coordinator, plan: Plan
) -> tuple[Outcome, ...]:
    """Prove the cluster. What was changed is looked at again while containers are started to prove it."""
    remotes = coordinator.remotes
    with ThreadPoolExecutor(1) as beside:
        found = beside.submit(gathering.gather, session.plane, situation, remotes) if len(plan) else None
        outcomes = proven(session, situation, coordinator, started=plan.containers)
        if found:
            _settled(session, _waited_for(session, found.result(), remotes))
    if not any(failures(outcomes)):
        upgrade.note_proven(situation, remotes)
    return outcomes


def _report(
    session: Session, verb: str, made: Plan, outcomes: tuple[Outcome, ...], warnings: tuple[Problem, ...]
) -> Report:
    bad = len(list(failures(outcomes)))
    proof = (
        f"{bad} of {len(outcomes)} proofs failed"
        if bad
        else f"all {len(outcomes)} proofs hold on {steps.nodes(session)}"
    )
    words = f"{steps.changes(made)} made, {steps.restarts(made)}; {proof}"
    return steps.proof_report(session, verb, words, made, outcomes, warnings)


def _carried_out(
    session: Session, situation: Situation, plan: Plan, coordinator: Coordinator, *, yes: bool
) -> tuple[Plan, Situation]:
    """Do what is planned. Where there was no quorum at first, look again when it has, and do the rest."""
    lost = session.plane.outage(situation)
    if len(plan):
        planes.record(session.cluster, session.plane)
    if len(plan) or lost:
        try:
            situation = engine.carry_out(session.plane, situation, plan, coordinator, session.progress)
        except StepFailed as error:
            raise StepFailed(*error.problems, *lost) from None
    if not lost:
        return plan, situation
    seen = gathering.gather(session.plane, situation, coordinator.remotes)
    rest = engine.make_plan(session.plane, seen)
    consent(session, rest, yes=yes)
    rest, situation = _carried_out(session, seen, rest, coordinator, yes=yes)
    return joined([plan, rest]), situation


def _waited_for(session: Session, situation: Situation, remotes: Remotes) -> Situation:
    """Look again until all has taken, bounded: containers of ours come back by themselves after their dockerd."""
    for _ in attempts(SETTLE_SECONDS, 1.0):
        plan = engine.make_plan(session.plane, situation)
        if not len(plan):
            break
        session.progress.say("cluster", f"waiting until {plan.changes[0].resource} has taken")
        situation = gathering.gather(session.plane, situation, remotes)
    return situation


def _settled(session: Session, situation: Situation) -> None:
    """What was just changed must be as planned now: StepFailed names what did not take."""
    left = engine.make_plan(session.plane, situation)
    if len(left):
        raise StepFailed(
            *(
                Problem(
                    f"{change.action} {change.resource} did not take",
                    change.where,
                    "fab plan shows the difference",
                )
                for change in left
            )
        )
