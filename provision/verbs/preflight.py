"""preflight: find every obstacle on every node at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision import inventory
from provision.checks import node_view
from provision.core.outcome import Outcome, failures
from provision.errors import Exit
from provision.network import tunnels
from provision.recovery import generations
from provision.recovery import record as recovery
from provision.report import Report
from provision.verbs.session import Session, Survey
from provision.verbs.steps import with_flows


def run_preflight(session: Session, *, ignore: Sequence[str]) -> Report:
    """Run every preflight check on every node. Failures of checks in `ignore` are warnings. Nothing is written."""
    ignored = session.ignored(ignore)
    with session.partial_survey(supplies=True) as survey:
        situation = with_flows(
            session,
            tunnels.tried(session.plane, survey.situation, survey.remotes),
            survey.remotes,
        )
        found = node_view.run(session.plane, situation, session.preflight_checks, ignored)
        outcomes = (*_way_there(session, survey), *found)
    bad = len(list(failures(outcomes)))
    warned = sum(outcome.status == "warning" for outcome in outcomes)
    well = (
        f"{len(outcomes) - warned} checks passed, {warned} ignored" if warned else f"all {len(outcomes)} checks passed"
    )
    return Report(
        "preflight",
        f"{bad} of {len(outcomes)} checks failed: nothing was touched"
        if bad
        else f"{well} on {len(session.cluster.nodes)} nodes",
        Exit.REFUSED if bad else Exit.DONE,
        outcomes=outcomes,
        flows=situation.matrix.flows,
        warnings=(
            *inventory.warnings(session.cluster),
            *session.plane.warnings(situation),
            *generations.warnings(session.plane, situation),
            *recovery.left_over(session.cluster, situation.facts),
            *session.plane.outage(situation),
        ),
        times=tuple(session.progress.times.items()),
    )


def _way_there(session: Session, survey: Survey) -> Iterator[Outcome]:
    """Yield an outcome for what the controller needs (the release), and one for the connection to each node.

    And for each reason why nobody knows whose data counts: then provision refuses.
    """
    for problem in survey.of_local:
        yield Outcome("release", problem.where, "failed", problem.what, problem.advice)
    if not survey.of_local:
        yield Outcome("release", "controller", "passed", session.plane.describe_local(survey.situation))
    for problem in generations.doubtful(session.plane, survey.situation):
        yield Outcome("one-cluster", problem.where, "failed", problem.what, problem.advice)
    for problem in survey.unreached:
        yield Outcome("reachable", problem.where, "failed", problem.what, problem.advice)
    for node in session.cluster.nodes:
        if node.name in survey.situation.facts:
            yield Outcome("reachable", node.name, "passed", f"logged in at {node.ssh.host}")
