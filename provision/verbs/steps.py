"""What plan, provision, verify and certs do alike: obstacles, stages, consent, the proof, counts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import pairwise

from provision import engine, gathering, inventory
from provision.checks import catalogue, node_view
from provision.core.check import Check
from provision.core.outcome import Outcome, failures, flows
from provision.core.plan import CLUSTER, CONTROLLER, Plan
from provision.core.plane import Coordinator, Goal, Plane, Stage
from provision.core.situation import Situation
from provision.errors import ConsentMissing, Exit, PreflightRefused, Problem
from provision.network import port_matrix, tunnels
from provision.phases import installation, upgrade
from provision.recovery import generations
from provision.recovery import record as recovery
from provision.remote import Remotes
from provision.report import Report
from provision.resources import packet_rules
from provision.verbs.session import Session

#: The check of preflight that refuses another controller's nodes; `certs --adopt` takes them over.
FOREIGN = "same-authority"
#: What status and verify say of nodes on which nothing is ours.
NOT_PROVISIONED = "not provisioned yet: fab provision"

#: From what was found to the stages that lead to a goal.
Stages = Callable[[Situation], Sequence[Stage]]


def stages_to(session: Session, goal: Goal) -> Stages:
    """Return what names the stages to a goal, once the facts are known."""

    def stages(situation: Situation) -> Sequence[Stage]:
        following = session.plane.stages(situation, goal)
        upgraded = upgrade.stages(situation, following) if goal is Goal.CONVERGE else following
        return installation.stages(situation, upgraded)

    return stages


def modules(session: Session) -> tuple[str, ...]:
    """Return what is imported while the connections are made."""
    return (*(module for plane in session.candidates for module in plane.modules), "provision.checks.verify")


def looked_at(
    session: Session, situation: Situation, remotes: Remotes, ignored: Collection[str]
) -> tuple[Situation, tuple[Problem, ...]]:
    """Try tunnels and ports, and return the situation with what came of it, and every warning. PreflightRefused."""
    situation = with_flows(session, tunnels.tried(session.plane, situation, remotes), remotes)
    return situation, warned(session, situation, ignored)


def is_provisioned(plane: Plane, situation: Situation) -> bool:
    """Say whether a node holds something of ours, or may hold it: one that was not reached."""
    holding = (facts.values.get("record") == "yes" or plane.is_on(facts) for facts in situation.facts.values())
    all_reached = len(situation.facts) >= len(situation.cluster.nodes)
    return any(holding) or (situation.recorded and not all_reached)


def with_flows(session: Session, situation: Situation, remotes: Remotes) -> Situation:
    """Return the situation with what crossed between the nodes, where our own daemons do not show it already."""
    with session.progress.stage("ports"):
        for node in session.cluster.nodes:
            session.progress.say(node.name, "trying the ports between the nodes")
        asked = tuple(node for node in session.cluster.nodes if node.name in situation.facts)
        among = replace(session.cluster, nodes=asked)
        matrix = port_matrix.measure(
            among, session.plane.ports_of(session.cluster), situation.facts, remotes, secrets.token_hex(4)
        )
    return replace(situation, matrix=matrix)


def warned(session: Session, situation: Situation, ignored: Collection[str] = ()) -> tuple[Problem, ...]:
    """Return the inventory's warnings, and of each obstacle ignored. PreflightRefused with all others."""
    outcomes = node_view.run(session.plane, situation, session.preflight_checks, ignored)
    obstacles = [outcome.problem for outcome in failures(outcomes)]
    if obstacles:
        raise PreflightRefused(*obstacles)
    return (
        *inventory.warnings(session.cluster),
        *session.plane.warnings(situation),
        *generations.warnings(session.plane, situation),
        *recovery.left_over(session.cluster, situation.facts),
        *upgrade.by_hand(situation),
        *session.plane.outage(situation),
        *(outcome.problem for outcome in outcomes if outcome.status == "warning"),
    )


def entered(session: Session, situation: Situation, remotes: Remotes, stage: Stage) -> Situation:
    """Return the situation that aims at this stage, with what its restarts make worth knowing."""
    aimed = stage.enter(situation)
    if aimed is situation:
        return situation
    if stage.title:
        session.progress.say(CONTROLLER, stage.title)
    return gathering.with_policies(session.plane, aimed, remotes)


def foreseen(session: Session, situation: Situation, remotes: Remotes, stages: Sequence[Stage]) -> tuple[Plan, ...]:
    """Return the plan of each stage after the first, as far as it can be known before that one."""
    return tuple(
        engine.foresee(
            session.plane,
            before.foresee(situation),
            gathering.with_policies(session.plane, after.foresee(situation), remotes),
        )
        for before, after in pairwise(stages)
    )


def consent(session: Session, plan: Plan, *, yes: bool) -> None:
    """Ask for each yes that the plan needs. ConsentMissing where there is nobody to ask, or the answer is no."""
    if yes:
        return
    for asked in dict.fromkeys(plan.consents):
        if not session.agreed(f"This run would {asked}. Go on?"):
            advice = "add --yes to agree. Not meant? Then this inventory is an old one, or a disk is not mounted."
            raise ConsentMissing(Problem(f"this run would {asked}, and needs a yes for that", "cluster", advice))
    stopped = ", ".join(plan.stopped)
    question = f"Restarting Docker stops containers that do not come back by themselves: {stopped}. Go on?"
    if stopped and not session.agreed(question):
        what = f"a restart of Docker stops containers that have no restart policy: {stopped}"
        advice = "add --yes to accept that, or give them one: docker update --restart unless-stopped NAME"
        raise ConsentMissing(Problem(what, advice=advice))


def consent_to_more(session: Session, plan: Plan, named: Plan, *, yes: bool) -> None:
    """Ask for a yes where a later stage would interrupt what nothing had named before the first. ConsentMissing."""
    more = ", ".join(one for one in plan.interruptions if one not in named.interruptions)
    if not more:
        return
    session.progress.say(CLUSTER, f"not foreseen: to {more}")
    if not yes and not session.agreed(f"The next stage would {more}. That was not foreseen. Go on?"):
        advice = "the stages before it are done. Run it again, and the plan names it; or add --yes to agree"
        raise ConsentMissing(Problem(f"the next stage would {more}, which was not foreseen", CLUSTER, advice))


def proven(
    session: Session,
    situation: Situation,
    coordinator: Coordinator,
    chosen: Sequence[Check] | None = None,
    started: frozenset[str] = frozenset(),
) -> tuple[Outcome, ...]:
    """Run the checks that are chosen, or those that every provision ends with; return what they saw."""
    for node in situation.cluster.nodes:
        session.progress.say(node.name, "proving")
    with session.progress.stage("proof"):
        from provision.checks import verify
        from provision.checks.proof import Proof

        # Alone under the lock there is nobody to ask for.
        living = coordinator.remotes.living() if chosen else frozenset({coordinator.remotes.run})
        marked = {
            name: facts.marked for name, facts in gathering.with_marked(situation, coordinator.remotes).facts.items()
        }
        left = {name: tuple(one for one in things if one.run not in living) for name, things in marked.items()}
        gone = {name: packet_rules.lost(facts) for name, facts in situation.facts.items()}
        proof = Proof(situation.cluster, coordinator, coordinator.remotes.run, living, left, started, gone)
        return verify.run(proof, chosen or [check for check in catalogue.of_verify(session.plane) if check.quick])


def proof_report(
    session: Session, verb: str, summary: str, plan: Plan, outcomes: tuple[Outcome, ...], warnings: tuple[Problem, ...]
) -> Report:
    """Return the report of a verb that ends with a proof: a check that failed is its exit code."""
    return Report(
        verb,
        summary,
        Exit.VERIFICATION_FAILED if any(failures(outcomes)) else Exit.DONE,
        changes=plan.changes,
        outcomes=outcomes,
        flows=flows(outcomes),
        warnings=warnings,
        times=tuple(session.progress.times.items()),
    )


def changes(plan: Plan) -> str:
    """Count the changes of a plan."""
    return f"{len(plan)} change{'' if len(plan) == 1 else 's'}"


def restarts(plan: Plan) -> str:
    """Count the restarts of a plan."""
    return f"{len(plan.restarts)} restart{'' if len(plan.restarts) == 1 else 's'}"


def nodes(session: Session) -> str:
    """Count the nodes."""
    return f"{len(session.cluster.nodes)} nodes"
