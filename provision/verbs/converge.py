"""plan, provision and verify: the same facts, taken further each time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from provision import engine, inventory, membership, pki, port_matrix, tunnels, validity
from provision.api import Clients
from provision.checks import Outcome, failed, preflight, ways
from provision.errors import ConsentMissing, Exit, PreflightRefused, Problem, StepFailed
from provision.plan import CONTROLLER, Change, Plan
from provision.remote import Remotes
from provision.report import Report
from provision.situation import Situation
from provision.verbs.session import Session

if TYPE_CHECKING:
    from provision.checks.proof import Check

#: Certificates as the folder is: what ends is renewed, and a rotation stays at its step.
AS_IT_IS = (pki.Aim(),)

#: For what comes back by itself after a restart of dockerd: our keepers, which a busy machine had not started at once.
SETTLE_SECONDS = 60

#: Of the APIs: half a second's import where Python finds it for the first time.
CLIENTS = ("docker.types", "etcd3", "provision.checks.verify")


def run_plan(session: Session, *, exit_code: bool, ignore: Sequence[str]) -> Report:
    """Say what provision would change. Nothing is written."""
    return planned(session, "plan", AS_IT_IS, exit_code=exit_code, ignored=preflight.choose(ignore))


def planned(
    session: Session, verb: str, aims: Sequence[pki.Aim], *, exit_code: bool, ignored: Collection[str]
) -> Report:
    """Say what the first of the aims would change, and what follows. Nothing is written."""
    with session.asked() as (remotes, situation):
        situation = with_ways(session, tunnels.tried(situation, remotes), remotes)
        warnings = _warned(session, situation, ignored)
        plan = engine.make_plan(session.plane, _aimed(session, situation, remotes, aims[0]))
    return Report(
        verb,
        f"{_changes(plan)} pending" + (f", {_restarts(plan)}" if plan.restarts else "")
        if len(plan)
        else "nothing to change",
        Exit.PENDING if exit_code and len(plan) else Exit.DONE,
        changes=plan.changes,
        warnings=(*warnings, *(Problem(f"afterwards {aim.step.told}", "cluster") for aim in aims[1:] if aim.step)),
        times=tuple(session.progress.times.items()),
    )


def run_provision(session: Session, *, yes: bool, ignore: Sequence[str]) -> Report:
    """Plan, carry the plan out, and prove the result."""
    return converged(session, "provision", AS_IT_IS, yes=yes, ignored=preflight.choose(ignore))


def converged(session: Session, verb: str, aims: Sequence[pki.Aim], *, yes: bool, ignored: Collection[str]) -> Report:
    """For each aim plan, carry the plan out, and see that nothing is left; prove the result of the last."""
    changes: tuple[Change, ...] = ()
    with session.asked(verb, CLIENTS) as (remotes, situation):
        situation = with_ways(session, tunnels.tried(situation, remotes), remotes)
        warnings = _warned(session, situation, ignored)
        if len(aims) > 1:
            _consent_to_all(session, situation, remotes, yes=yes)
            yes = True
        for aim in aims[:-1]:
            situation = _aimed(session, situation, remotes, aim)
            with session.clients(remotes, situation.identity) as clients:
                plan, situation = _carried_out(session, situation, clients, yes=yes)
            changes += plan.changes
            situation = _waited_for(session, engine.gather(session.plane, situation, remotes), remotes)
            _settled(session, situation)
        situation = _aimed(session, situation, remotes, aims[-1])
        with session.clients(remotes, situation.identity) as clients:
            plan, situation = _carried_out(session, situation, clients, yes=yes)
            changes += plan.changes
            # What was changed is looked at again while containers are started to prove it.
            with ThreadPoolExecutor(1) as beside:
                found = beside.submit(engine.gather, session.plane, situation, remotes) if len(plan) else None
                outcomes = _proven(session, situation, clients, started=plan.containers)
                if found:
                    _settled(session, _waited_for(session, found.result(), remotes))
    bad = len(list(failed(outcomes)))
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
        ways=ways(outcomes),
        warnings=warnings,
        times=tuple(session.progress.times.items()),
    )


def _aimed(session: Session, situation: Situation, remotes: Remotes, aim: pki.Aim) -> Situation:
    """Return the situation whose certificates are to be brought to this aim."""
    if aim == situation.identity.aim:
        return situation
    if aim.step:
        session.progress.say(CONTROLLER, aim.step.told)
    identity = pki.Identity.read(session.cluster, aim=aim)
    return engine.with_policies(session.plane, replace(situation, identity=identity), remotes)


def _carried_out(session: Session, situation: Situation, clients: Clients, *, yes: bool) -> tuple[Plan, Situation]:
    """Plan and do it. Where the store had no quorum at first, look again when it has, and do the rest."""
    plan = engine.make_plan(session.plane, situation)
    _consent(session, plan, yes=yes)
    lost = membership.warnings(situation)
    if len(plan) or lost:
        try:
            situation = engine.carry_out(session.plane, situation, plan, clients, session.progress)
        except StepFailed as error:
            raise StepFailed(*error.problems, *lost) from None
    if not lost:
        return plan, situation
    seen = engine.gather(session.plane, situation, clients.remotes)
    rest, situation = _carried_out(session, seen, clients, yes=yes)
    return Plan(plan.changes + rest.changes), situation


def run_verify(session: Session, *, only: str, skip: str, ignore: Sequence[str]) -> Report:
    """Call a non-empty plan a failure, and prove the rest: nothing of it holds while the store has no quorum."""
    from provision.checks import verify

    chosen, ignored = verify.choose(only, skip), preflight.choose(ignore)
    with session.asked("verify", CLIENTS, shared=True) as (remotes, situation):
        warnings = _warned(session, situation, ignored)
        plan = engine.make_plan(session.plane, situation)
        if lost := membership.warnings(situation):
            outcomes = (
                _as_planned(plan),
                *(Outcome("etcd/quorum", "cluster", "failed", p.what, p.advice) for p in lost),
            )
        else:
            with session.clients(remotes, situation.identity) as clients:
                outcomes = (_as_planned(plan), *_proven(session, situation, clients, chosen))
    bad = len(list(failed(outcomes)))
    untried = sum(outcome.status == "warning" for outcome in outcomes)
    well = f"all {len(outcomes) - untried} checks passed on {_nodes(session)}"
    return Report(
        "verify",
        f"{bad} of {len(outcomes)} checks failed" if bad else f"{well}, {untried} not tried" if untried else well,
        Exit.VERIFICATION_FAILED if bad else Exit.DONE,
        changes=plan.changes,
        outcomes=outcomes,
        ways=ways(outcomes),
        warnings=warnings,
        times=tuple(session.progress.times.items()),
    )


def with_ways(session: Session, situation: Situation, remotes: Remotes) -> Situation:
    """Return the situation with what crossed between the nodes, where our own daemons do not show it already."""
    with session.progress.stage("ports"):
        for node in session.cluster.nodes:
            session.progress.say(node.name, "trying the ports between the nodes")
        asked = tuple(node for node in session.cluster.nodes if node.name in situation.facts)
        among = replace(session.cluster, nodes=asked)
        matrix = port_matrix.measure(among, situation.facts, remotes, secrets.token_hex(4))
    return replace(situation, matrix=matrix)


def _warned(session: Session, situation: Situation, ignored: Collection[str] = ()) -> tuple[Problem, ...]:
    """Return the inventory's warnings, and of each obstacle ignored. PreflightRefused with all others."""
    outcomes = preflight.run(session.plane, situation, ignored)
    obstacles = [outcome.problem for outcome in failed(outcomes)]
    if obstacles:
        raise PreflightRefused(*obstacles)
    warned = (outcome.problem for outcome in outcomes if outcome.status == "warning")
    said = (*inventory.warnings(session.cluster), *validity.warnings(situation), *membership.warnings(situation))
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
    bare = replace(situation, identity=replace(situation.identity, issued={}))
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
    clients: Clients,
    chosen: Sequence[Check] | None = None,
    started: frozenset[str] = frozenset(),
) -> tuple[Outcome, ...]:
    for node in session.cluster.nodes:
        session.progress.say(node.name, "proving")
    with session.progress.stage("proof"):
        from provision.checks import verify
        from provision.checks.proof import Proof

        # Alone under the lock there is nobody to ask for.
        living = clients.remotes.living() if chosen else frozenset({clients.remotes.run})
        marked = {name: facts.marked for name, facts in engine.with_marked(situation, clients.remotes).facts.items()}
        left = {name: tuple(one for one in things if one.run not in living) for name, things in marked.items()}
        proof = Proof(session.cluster, clients, clients.remotes.run, living, left, started)
        return verify.run(proof, chosen or verify.quick())


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
