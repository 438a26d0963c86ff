"""restore: a cluster that was lost is set up again from a backup, on the same hosts or on others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from provision import engine, gathering, layout, planes
from provision.backup import archive, destination, phases, record
from provision.core.outcome import Outcome, failures
from provision.core.plan import Change, Plan, joined
from provision.core.recovery import LostHost, Recovery
from provision.core.saved import Saved
from provision.core.table import Table
from provision.errors import ConsentMissing, Exit, Problem, StepFailed
from provision.migration import proof
from provision.migration.networks import of_docker
from provision.migration.phases import told
from provision.pki import files
from provision.recovery import generations
from provision.recovery import record as recovery
from provision.remote import Remotes
from provision.report import Report
from provision.verbs import restore_survey, steps
from provision.verbs.backup import contents
from provision.verbs.provision import proven_and_settled
from provision.verbs.restore_survey import Fit, Way
from provision.verbs.session import Session, Survey

#: How the proof of containers tells what it has found.
WORDS = proof.Words("restore/containers-are-back", "fab verify")


def run_restore(session: Session, *, file: str, plan: bool, yes: bool, lost: Sequence[str]) -> Report:
    """Read the archive, look at the hosts, show what would be done; after a yes, set the cluster up again."""
    saved = archive.read(destination.read(file))
    fit = _aimed(session, saved)
    agreed: Collection[str] = ()
    with session.partial_survey() as survey:
        if plan or not yes:
            way, plans = _looked(session, fit, survey, lost)
            if plan:
                return _planned(session, way, joined(plans))
            agreed = _consent(session, way, joined(plans))
        with survey.remotes.lock("restore", shared=False, run=session.run):
            fit = _aimed(session, saved)
            now = gathering.gather(session.plane, survey.situation, survey.remotes)
            way, plans = _looked(session, fit, replace(survey, situation=now), lost)
            if not yes and not set(_stopped(way, joined(plans))) <= set(agreed):
                _consent(session, way, joined(plans))
            try:
                return _restored(session, way, plans, survey.remotes, yes=yes)
            except StepFailed as error:
                raise StepFailed(*(_to_go_on(problem, file) for problem in error.problems)) from None


def _aimed(session: Session, saved: Saved) -> Fit:
    """Return how the backup fits, and let the session aim at its control plane."""
    fit = restore_survey.fitting(session.cluster, saved)
    session.aim_at(fit.plane.restoring(fit.saved))
    return fit


def _looked(session: Session, fit: Fit, survey: Survey, lost: Sequence[str]) -> tuple[Way, tuple[Plan, ...]]:
    """Return what leads to the restored cluster, and the plan of each stage."""
    way = restore_survey.surveyed(session, fit, survey, lost)
    if not way.stages:
        return way, ()
    first = steps.entered(session, way.situation, survey.remotes, way.stages[0])
    later = steps.foreseen(session, way.situation, survey.remotes, way.stages)
    return way, (engine.make_plan(session.plane, first), *later)


def _to_go_on(problem: Problem, file: str) -> Problem:
    """Return the problem with what goes on with a restore: `provision` does not."""
    verb = f"fab restore {file}"
    advice = problem.advice.replace("run provision again", f"run {verb} again")
    return replace(problem, advice=advice if verb in advice else f"{verb} goes on from here; {advice}")


def _stopped(way: Way, plan: Plan) -> tuple[str, ...]:
    """Return what is given up, and what stops, each as it completes "it will …"."""
    shown = Plan(tuple(_shown(change, way) for change in plan))
    return tuple(dict.fromkeys((*way.given_up, *shown.interruptions)))


def _consent(session: Session, way: Way, plan: Plan) -> tuple[str, ...]:
    """Ask for a yes to what is done and to what is given up, and return that. ConsentMissing."""
    stopped = _stopped(way, plan)
    also = "".join(f"; {one}" for one in stopped)
    what = f"set up {session.cluster.name} from the backup of {way.saved.moment}{also}"
    if not session.agreed(f"Restore? It will {what}."):
        advice = "fab restore FILE --plan shows it; add --yes to agree in advance"
        raise ConsentMissing(Problem(f"restore would {what}", "cluster", advice))
    return stopped


def _restored(session: Session, way: Way, plans: Sequence[Plan], remotes: Remotes, *, yes: bool) -> Report:
    """Make the record, put the identity in place, go through the stages, and prove what came of them."""
    record.begin(session.cluster, way.fit.restore, way.others)
    files.put(session.cluster.folder, way.fit.identity)
    planes.record(session.cluster, way.fit.plane)
    situation = restore_survey.with_local(session, way.situation)
    made: list[Plan] = []
    for stage, named in zip(way.stages, plans, strict=True):
        situation = steps.entered(session, situation, remotes, stage)
        todo = engine.make_plan(session.plane, situation)
        steps.consent_to_more(session, todo, named, yes=yes)
        made.append(todo)
        with session.coordinator(remotes, situation) as coordinator:
            situation = engine.carry_out(session.plane, situation, todo, coordinator, session.progress)
        if stage is not way.stages[-1]:
            situation = gathering.gather(session.plane, situation, remotes)
    session.aim_at(way.fit.plane)
    _end(session, way, remotes)
    with session.coordinator(remotes, situation) as coordinator:
        outcomes = proven_and_settled(session, situation, coordinator, joined(made))
    back = _back(session, way, remotes)
    return _report(session, way, joined(made), (*outcomes, *back))


def _end(session: Session, way: Way, remotes: Remotes) -> None:
    """End the restore. The nodes keep a line of it, as of a recovery: a host without that was away meanwhile.

    The controller's record says first that the cluster is set up: a run that was killed here only does this again.
    """
    nodes = way.situation.cluster.nodes
    record.set_up(session.cluster, way.fit.restore, [node.name for node in nodes])
    lines = generations.all_lines(replace(way.situation, recoveries=recovery.listed(session.cluster)))
    if not any(way.fit.restore.identity in line for line in lines):
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        lost = tuple(LostHost(one.name, one.address) for one in session.cluster.nodes if one not in nodes)
        lines = (*lines, Recovery(nodes[0], lost, identity=way.fit.restore.identity, moment=moment).line)
    text = "".join(f"{line}\n" for line in lines).encode()
    recovery.keep_list(session.cluster, text)
    remotes.each(lambda remote: remote.push(text, layout.RECOVERIES), nodes)
    unmark = f"rm -f {layout.RESTORE} && sync {layout.STATE}"
    remotes.each(lambda remote: remote.carry_out(unmark, "ending the restore"), nodes)
    record.end(session.cluster)


def _back(session: Session, way: Way, remotes: Remotes) -> tuple[Outcome, ...]:
    """Prove that each container whose disk has survived is back, with its address, and found by its names."""
    containers = phases.as_migration(way.fit.plane, way.surviving)
    return proof.proven(way.situation.cluster, containers, remotes, session.run, WORDS).outcomes


def _planned(session: Session, way: Way, plan: Plan) -> Report:
    return Report(
        "restore",
        f"{steps.changes(plan)} would set up {session.cluster.name} from the backup of {way.saved.moment}",
        changes=tuple(_shown(change, way) for change in plan),
        tables=_tables(way),
        warnings=way.warnings,
        times=tuple(session.progress.times.items()),
    )


def _shown(change: Change, way: Way) -> Change:
    """Return a change as the plan shows it: what stops with a restart of Docker, and is started again, is not lost."""
    back = {(one.node, one.name) for one in way.surviving if one.runs}
    return replace(change, diff="", stops=tuple(name for name in change.stops if (change.where, name) not in back))


def _report(session: Session, way: Way, plan: Plan, outcomes: tuple[Outcome, ...]) -> Report:
    bad = len(list(failures(outcomes)))
    saved, there = ({one.identity for one in some} for some in (way.saved.containers, way.surviving))
    proofs = f"{bad} of {len(outcomes)} proofs failed" if bad else f"all {len(outcomes)} proofs hold"
    return Report(
        "restore",
        f"{session.cluster.name} is as in the backup of {way.saved.moment}: {len(way.saved.networks)} networks, "
        f"{len(saved & there)} of {len(saved)} containers; {proofs}",
        Exit.VERIFICATION_FAILED if bad else Exit.DONE,
        changes=tuple(_shown(change, way) for change in plan),
        outcomes=outcomes,
        tables=_tables(way),
        warnings=way.warnings,
        times=tuple(session.progress.times.items()),
    )


def _tables(way: Way) -> tuple[Table, ...]:
    networks = tuple((one["Name"], str(one.get("Id", "")), told(of_docker(one))) for one in way.saved.networks)
    there = {one.identity: one.node for one in way.surviving}
    rows = tuple(
        (one.node, one.name, there.get(one.identity) or "its disk is gone: its names and addresses are free")
        for one in way.saved.containers
    )
    return (
        contents(way.saved),
        Table("networks", "Networks of the backup", ("network", "id", "as it was"), networks),
        Table("containers", "Containers of the backup", ("was on", "container", "comes back on"), rows),
    )
