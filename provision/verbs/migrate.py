"""migrate: from the cluster's control plane to the next one, with the same networks and the same containers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from provision import engine, planes
from provision.core.outcome import failures
from provision.core.plan import Plan
from provision.core.plane import Plane
from provision.errors import ConsentMissing, Exit, PreflightRefused, Problem, StepFailed, Unanswered
from provision.migration import nodes, proof, record, tables
from provision.migration.nodes import Stage
from provision.remote import Remotes
from provision.report import Report
from provision.verbs import half_done
from provision.verbs.migration_survey import Way, asked, surveyed
from provision.verbs.provision import proven_and_settled
from provision.verbs.session import Session


def run_migrate(session: Session, *, plan: bool, yes: bool, delete_user_data: bool, ignore: Sequence[str]) -> Report:
    """Record, stop, leave the one control plane and enter the next; bring the containers back, and prove them."""
    if plan:
        return what_is_left(session, "migrate", exit_code=False, ignore=ignore)
    there = _planes(session)
    if isinstance(there, Report):
        return there
    with session.connected("migrate") as remotes:
        way = surveyed(session, *there, remotes, ignore)
        first, _ = way.plans
        if not delete_user_data:
            _respect_users(session, way, remotes)
        if not yes:
            _consent(session, way)
            way = surveyed(session, *there, remotes, ignore)  # the answer may have taken a while
        try:
            _record(session, way, remotes)
            return _entered(session, _left(session, way, first, remotes), remotes)
        except StepFailed as error:
            raise StepFailed(*map(_to_go_on, error.problems)) from None


def what_is_left(session: Session, verb: str, *, exit_code: bool, ignore: Sequence[str]) -> Report:
    """Return what a migration would change, or what is left of one that is under way. Nothing is written on a node."""
    there = _planes(session)
    if isinstance(there, Report):
        return there
    with session.connected() as remotes:
        way = surveyed(session, *there, remotes, ignore)
    changes = tuple(replace(change, diff="") for plan in way.plans for change in plan)
    return Report(
        verb,
        f"{len(changes)} changes pending, from {way.before.name} to {way.after.name}; nothing is lost",
        Exit.PENDING if exit_code else Exit.DONE,
        changes=changes,
        tables=tables.plan(way.migration),
        warnings=(*record.warnings(session.cluster, way.situation.facts), *way.warnings),
        times=tuple(session.progress.times.items()),
    )


def _to_go_on(problem: Problem) -> Problem:
    """Return the problem with what goes on with a migration: `provision` does not."""
    advice = problem.advice.replace("run provision again", f"run {record.VERB} again")
    return replace(problem, advice=advice if record.VERB in advice else f"{record.VERB} goes on from here; {advice}")


def _planes(session: Session) -> tuple[Plane, Plane] | Report:
    """Return the control planes before and after, or the report that there is nothing to migrate. PreflightRefused."""
    cluster = session.cluster
    half_done.refuse(cluster, verb="migrate")
    there = record.under_way(cluster)
    before = next((one for one in planes.known() if there and one.name == there.before), planes.recorded(cluster))
    if before is None:
        what = "this controller has not provisioned the cluster"
        advice = f"bring the folder {cluster.folder} from the controller that has; or fab provision"
        raise PreflightRefused(Problem(what, str(cluster.path), advice))
    after = planes.successor(before)
    if after is None:
        nothing = Report("migrate", f"nothing to migrate: the cluster is on {before.name}")
        return _of_another_controller(session) or nothing
    if cluster.control_plane not in ("auto", after.name):
        what = f"docker.control_plane: {cluster.control_plane}, and the migration leads to {after.name}"
        advice = "write `control_plane: auto`, or leave the line out"
        raise PreflightRefused(Problem(what, str(cluster.path), advice))
    if cluster.absent:
        names = ", ".join(host.name for host in cluster.absent)
        what = f"{names}: still to leave the cluster (state: absent)"
        raise PreflightRefused(Problem(what, str(cluster.path), "fab provision; then delete the entry"))
    return before, after


def _of_another_controller(session: Session) -> tuple[Plane, Plane] | None:
    """Return the control planes of a migration that a node has a record of, though this controller has none."""
    with session.connected() as remotes:
        script = f"cat {nodes.RECORD} 2>/dev/null || true"
        answers = remotes.each(lambda remote: remote.run(script, what="looking for a migration"))
    there = record.first((f"{name}: {nodes.RECORD}", answer.stdout) for name, answer in answers.items())
    names = (there.before, there.after) if there else ()
    match [plane for plane in planes.known() if plane.name in names]:
        case [before, after]:
            return before, after
    return None


def _respect_users(session: Session, way: Way, remotes: Remotes) -> None:
    """Raise ConsentMissing if data of a user goes with the former control plane: Docker's own goes along."""
    stages = {nodes.stage(way.before, there) for there in way.situation.facts.values()}
    if stages & {Stage.STOPPED, Stage.LEFT} or stages == {Stage.OUT}:
        return  # it was asked for before that
    situation = replace(way.situation, local=way.before.local(session.cluster)[0])
    coordinator = way.before.open(remotes, situation)
    try:
        problems = tuple(coordinator.users_data(situation))
    except Unanswered as error:
        problems = (Problem(str(error), "cluster"),)
    finally:
        coordinator.close()
    advice = "save it elsewhere, or let it go with the former control plane: --delete-user-data"
    if problems:
        raise ConsentMissing(*(replace(problem, advice=advice) for problem in problems))


def _consent(session: Session, way: Way) -> None:
    """Ask for a yes to what stops. ConsentMissing."""
    running = [f"{one.node}: {one.name}" for one in way.migration.staying if one.runs]
    what = f"stop Docker on every node, with {len(running)} containers ({', '.join(running)}), and start them again"
    if ends := [f"{one.node}: {one.name}" for one in way.migration.containers if one.temporary]:
        what += f"; {', '.join(ends)}: ends for good, for Docker removes it when it ends (--rm)"
    if not session.agreed(f"Migrate from {way.before.name} to {way.after.name}? It will {what}."):
        advice = "fab migrate --plan shows it; add --yes to agree in advance"
        raise ConsentMissing(Problem(f"migrate would {what}", "cluster", advice))


def _record(session: Session, way: Way, remotes: Remotes) -> None:
    """Write the record, here and on each node that is to leave, before anything stops there."""
    record.begin(session.cluster, way.migration)
    content = way.migration.text().encode()
    there = tuple(node for node in session.cluster.nodes if nodes.stage(way.before, way.situation.of(node)) < Stage.OUT)
    remotes.each(lambda remote: remote.push(content, nodes.RECORD), there)


def _left(session: Session, way: Way, plan: Plan, remotes: Remotes) -> Way:
    """Let every node leave the former control plane; from then on the cluster is the next one's."""
    with session.coordinator(remotes, way.situation) as coordinator:
        engine.carry_out(way.leaving, way.situation, plan, coordinator, session.progress)
    planes.record(session.cluster, way.after)
    return replace(way, situation=asked(session, way.before, way.after, remotes))


def _entered(session: Session, way: Way, remotes: Remotes) -> Report:
    """Set up the next control plane, bring the containers back, prove both, and end the migration."""
    later = way.foreseen
    plan = engine.make_plan(way.entering, later)
    with session.coordinator(remotes, later) as coordinator:
        after = engine.carry_out(way.entering, later, plan, coordinator, session.progress)
        after = replace(after, cluster=session.cluster)
        outcomes = proven_and_settled(session, after, coordinator, plan)
        back = proof.proven(session.cluster, way.migration, remotes, session.run, proof.MIGRATION)
    outcomes = (*outcomes, *back.outcomes)
    bad = len(list(failures(outcomes)))
    if not bad:
        remotes.each(lambda remote: remote.carry_out(nodes.CLEAN, "ending the migration"))
        record.end(session.cluster, planes.RECORD)
    return Report(
        "migrate",
        f"from {way.before.name} to {way.after.name}: {back.summary}; "
        + (f"{bad} of {len(outcomes)} proofs failed" if bad else f"all {len(outcomes)} proofs hold"),
        Exit.VERIFICATION_FAILED if bad else Exit.DONE,
        changes=plan.changes,
        outcomes=outcomes,
        tables=back.tables,
        warnings=way.warnings,
        times=tuple(session.progress.times.items()),
    )
