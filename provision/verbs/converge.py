"""plan, provision and verify: the same facts, taken further each time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from provision import engine, inventory
from provision.checks import catalogue, node_view
from provision.core.check import Check, matching
from provision.core.outcome import Outcome, failures, flows
from provision.core.plan import CONTROLLER, Change, Plan
from provision.core.plane import Coordinator, Goal, Stage
from provision.core.situation import Situation
from provision.errors import ConsentMissing, Exit, PreflightRefused, Problem, StepFailed
from provision.network import port_matrix, tunnels
from provision.remote import Remotes
from provision.report import Report
from provision.verbs.session import Session

#: For what comes back by itself after a restart of dockerd: our keepers, which a busy machine had not started at once.
SETTLE_SECONDS = 60


def run_plan(session: Session, *, exit_code: bool, ignore: Sequence[str]) -> Report:
    """Say what provision would change. Nothing is written."""
    return planned(session, "plan", _stages(session), exit_code=exit_code, ignored=session.ignored(ignore))


def planned(
    session: Session, verb: str, stages: Sequence[Stage], *, exit_code: bool, ignored: Collection[str]
) -> Report:
    """Say what the first of the aims would change, and what follows. Nothing is written."""
    with session.survey() as (remotes, situation):
        situation = with_flows(session, tunnels.tried(situation, session.plane.ports, remotes), remotes)
        warnings = _warned(session, situation, ignored)
        plan = engine.make_plan(session.plane, _entered(session, situation, remotes, stages[0]))
    return Report(
        verb,
        f"{_changes(plan)} pending" + (f", {_restarts(plan)}" if plan.restarts else "")
        if len(plan)
        else "nothing to change",
        Exit.PENDING if exit_code and len(plan) else Exit.DONE,
        changes=plan.changes,
        warnings=(*warnings, *(Problem(f"afterwards {stage.title}", "cluster") for stage in stages[1:])),
        times=tuple(session.progress.times.items()),
    )


def run_provision(session: Session, *, yes: bool, ignore: Sequence[str]) -> Report:
    """Plan, carry the plan out, and prove the result."""
    return converged(session, "provision", _stages(session), yes=yes, ignored=session.ignored(ignore))


def converged(session: Session, verb: str, stages: Sequence[Stage], *, yes: bool, ignored: Collection[str]) -> Report:
    """For each aim plan, carry the plan out, and see that nothing is left; prove the result of the last."""
    changes: tuple[Change, ...] = ()
    with session.survey(verb, _modules(session)) as (remotes, situation):
        situation = with_flows(session, tunnels.tried(situation, session.plane.ports, remotes), remotes)
        warnings = _warned(session, situation, ignored)
        if len(stages) > 1:
            _consent_to_all(session, situation, remotes, yes=yes)
            yes = True
        for stage in stages[:-1]:
            situation = _entered(session, situation, remotes, stage)
            with session.coordinator(remotes, situation) as coordinator:
                plan, situation = _carried_out(session, situation, coordinator, yes=yes)
            changes += plan.changes
            situation = _waited_for(session, engine.gather(session.plane, situation, remotes), remotes)
            _settled(session, situation)
        situation = _entered(session, situation, remotes, stages[-1])
        with session.coordinator(remotes, situation) as coordinator:
            plan, situation = _carried_out(session, situation, coordinator, yes=yes)
            changes += plan.changes
            # What was changed is looked at again while containers are started to prove it.
            with ThreadPoolExecutor(1) as beside:
                found = beside.submit(engine.gather, session.plane, situation, remotes) if len(plan) else None
                outcomes = _proven(session, situation, coordinator, started=plan.containers)
                if found:
                    _settled(session, _waited_for(session, found.result(), remotes))
    bad = len(list(failures(outcomes)))
    made = Plan(changes)
    return Report(
        verb,
        f"{_changes(made)} made, {_restarts(made)}; "
        + (
            f"{bad} of {len(outcomes)} proofs failed"
            if bad
            else f"all {len(outcomes)} proofs hold on {_nodes(session)}"
        ),
        Exit.VERIFICATION_FAILED if bad else Exit.DONE,
        changes=changes,
        outcomes=outcomes,
        flows=flows(outcomes),
        warnings=warnings,
        times=tuple(session.progress.times.items()),
    )


def _stages(session: Session) -> tuple[Stage, ...]:
    return session.plane.stages(session.cluster, Goal.CONVERGE)


def _modules(session: Session) -> tuple[str, ...]:
    return (*session.plane.modules, "provision.checks.verify")


def _entered(session: Session, situation: Situation, remotes: Remotes, stage: Stage) -> Situation:
    """Return the situation that aims at this stage, with what its restarts make worth knowing."""
    entered = stage.enter(situation)
    if entered is situation:
        return situation
    if stage.title:
        session.progress.say(CONTROLLER, stage.title)
    return engine.with_policies(session.plane, entered, remotes)


def _carried_out(
    session: Session, situation: Situation, coordinator: Coordinator, *, yes: bool
) -> tuple[Plan, Situation]:
    """Plan and do it. Where the store had no quorum at first, look again when it has, and do the rest."""
    plan = engine.make_plan(session.plane, situation)
    _consent(session, plan, yes=yes)
    lost = session.plane.outage(situation)
    if len(plan) or lost:
        try:
            situation = engine.carry_out(session.plane, situation, plan, coordinator, session.progress)
        except StepFailed as error:
            raise StepFailed(*error.problems, *lost) from None
    if not lost:
        return plan, situation
    seen = engine.gather(session.plane, situation, coordinator.remotes)
    rest, situation = _carried_out(session, seen, coordinator, yes=yes)
    return Plan(plan.changes + rest.changes), situation


def run_verify(session: Session, *, only: str, skip: str, ignore: Sequence[str]) -> Report:
    """Call a non-empty plan a failure, and prove the rest: nothing of it holds while the store has no quorum."""
    chosen, ignored = matching(catalogue.of_verify(session.plane), only, skip), session.ignored(ignore)
    with session.survey("verify", _modules(session), shared=True) as (remotes, situation):
        warnings = _warned(session, situation, ignored)
        plan = engine.make_plan(session.plane, situation)
        if lost := session.plane.outage(situation):
            outcomes = (
                _as_planned(plan),
                *(Outcome(f"{session.plane.name}/quorum", "cluster", "failed", p.what, p.advice) for p in lost),
            )
        else:
            with session.coordinator(remotes, situation) as coordinator:
                outcomes = (_as_planned(plan), *_proven(session, situation, coordinator, chosen))
    bad = len(list(failures(outcomes)))
    untried = sum(outcome.status == "warning" for outcome in outcomes)
    well = f"all {len(outcomes) - untried} checks passed on {_nodes(session)}"
    return Report(
        "verify",
        f"{bad} of {len(outcomes)} checks failed" if bad else f"{well}, {untried} not tried" if untried else well,
        Exit.VERIFICATION_FAILED if bad else Exit.DONE,
        changes=plan.changes,
        outcomes=outcomes,
        flows=flows(outcomes),
        warnings=warnings,
        times=tuple(session.progress.times.items()),
    )


def with_flows(session: Session, situation: Situation, remotes: Remotes) -> Situation:
    """Return the situation with what crossed between the nodes, where our own daemons do not show it already."""
    with session.progress.stage("ports"):
        for node in session.cluster.nodes:
            session.progress.say(node.name, "trying the ports between the nodes")
        asked = tuple(node for node in session.cluster.nodes if node.name in situation.facts)
        among = replace(session.cluster, nodes=asked)
        matrix = port_matrix.measure(among, session.plane.ports, situation.facts, remotes, secrets.token_hex(4))
    return replace(situation, matrix=matrix)


def _warned(session: Session, situation: Situation, ignored: Collection[str] = ()) -> tuple[Problem, ...]:
    """Return the inventory's warnings, and of each obstacle ignored. PreflightRefused with all others."""
    outcomes = node_view.run(session.plane, situation, session.preflight_checks, ignored)
    obstacles = [outcome.problem for outcome in failures(outcomes)]
    if obstacles:
        raise PreflightRefused(*obstacles)
    warned = (outcome.problem for outcome in outcomes if outcome.status == "warning")
    said = (
        *inventory.warnings(session.cluster),
        *session.plane.warnings(situation),
        *session.plane.outage(situation),
    )
    return (*said, *warned)


def _consent(session: Session, plan: Plan, *, yes: bool) -> None:
    if not plan.stopped or yes:
        return
    stopped = ", ".join(plan.stopped)
    if not session.agreed(f"Restarting Docker stops containers that do not come back by themselves: {stopped}. Go on?"):
        raise ConsentMissing(
            Problem(
                f"a restart of Docker stops containers that have no restart policy: {stopped}",
                advice="add --yes to accept that, or give them one: docker update --restart unless-stopped NAME",
            )
        )


def _waited_for(session: Session, situation: Situation, remotes: Remotes) -> Situation:
    """Look again until all has taken, bounded: containers of ours come back by themselves after their dockerd."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while len(plan := engine.make_plan(session.plane, situation)) and time.monotonic() < deadline:
        session.progress.say("cluster", f"waiting until {plan.changes[0].resource} has taken")
        time.sleep(1)
        situation = engine.gather(session.plane, situation, remotes)
    return situation


def _consent_to_all(session: Session, situation: Situation, remotes: Remotes, *, yes: bool) -> None:
    """Ask, before the first of several plans, about the restart of every dockerd that one of them brings."""
    bare = session.plane.without_certificates(situation)
    plan = engine.make_plan(session.plane, engine.with_policies(session.plane, bare, remotes))
    _consent(session, plan, yes=yes)


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


def _proven(
    session: Session,
    situation: Situation,
    coordinator: Coordinator,
    chosen: Sequence[Check] | None = None,
    started: frozenset[str] = frozenset(),
) -> tuple[Outcome, ...]:
    for node in session.cluster.nodes:
        session.progress.say(node.name, "proving")
    with session.progress.stage("proof"):
        from provision.checks import verify
        from provision.checks.proof import Proof

        # Alone under the lock there is nobody to ask for.
        living = coordinator.remotes.living() if chosen else frozenset({coordinator.remotes.run})
        marked = {
            name: facts.marked for name, facts in engine.with_marked(situation, coordinator.remotes).facts.items()
        }
        left = {name: tuple(one for one in things if one.run not in living) for name, things in marked.items()}
        proof = Proof(session.cluster, coordinator, coordinator.remotes.run, living, left, started)
        return verify.run(proof, chosen or [check for check in catalogue.of_verify(session.plane) if check.quick])


def _as_planned(plan: Plan) -> Outcome:
    if len(plan):
        return Outcome(
            "plan/nothing-pending",
            "cluster",
            "failed",
            f"{_changes(plan)} pending",
            "fab plan, then fab provision",
        )
    return Outcome("plan/nothing-pending", "cluster", "passed", "every node is as the inventory says")


def _changes(plan: Plan) -> str:
    return f"{len(plan)} change{'' if len(plan) == 1 else 's'}"


def _restarts(plan: Plan) -> str:
    return f"{len(plan.restarts)} restart{'' if len(plan.restarts) == 1 else 's'}"


def _nodes(session: Session) -> str:
    return f"{len(session.cluster.nodes)} nodes"
