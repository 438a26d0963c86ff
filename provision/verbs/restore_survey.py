"""What is found before a restore: whether the backup fits, whether a cluster lives, and what is to be done."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from provision import planes
from provision.backup import foreseen, identity, phases, record
from provision.backup.record import Restore
from provision.core.plan import CONTROLLER
from provision.core.plane import Goal, Plane, Stage
from provision.core.recovery import Standing
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.docker.containers import Container
from provision.errors import BackupError, ConnectionFailed, PreflightRefused, Problem, UsageError
from provision.inventory.model import Cluster
from provision.network import tunnels
from provision.pki import files
from provision.recovery import generations, outlook
from provision.recovery.outlook import Outlook
from provision.verbs import half_done, steps
from provision.verbs.session import Session, Survey


@dataclass(frozen=True)
class Fit:
    """A backup that fits: its control plane, without the phases of a restore; the restore, and what that needs here."""

    saved: Saved
    plane: Plane
    restore: Restore
    #: The files of the identity's folder that the controller lacks.
    identity: Mapping[str, bytes]


@dataclass(frozen=True)
class Way:
    """A backup that fits, what was found on the nodes, and what leads from there to the restored cluster."""

    fit: Fit
    situation: Situation
    stages: tuple[Stage, ...]
    #: The containers whose disks have survived, on the nodes where they are.
    surviving: tuple[Container, ...]
    #: What is given up, each as it completes "it will …".
    given_up: tuple[str, ...]
    warnings: tuple[Problem, ...]

    @property
    def saved(self) -> Saved:
        """What was saved."""
        return self.fit.saved

    @property
    def others(self) -> tuple[Container, ...]:
        """The containers that come back and are not in the backup."""
        known = {one.identity for one in self.saved.containers}
        return tuple(one for one in self.surviving if one.identity not in known)


def fitting(cluster: Cluster, saved: Saved) -> Fit:
    """Return the backup with the restore that begins or goes on.

    PreflightRefused if it is another cluster's, or of a control plane that the cluster cannot have.
    """
    half_done.refuse(cluster, verb="restore")
    if saved.cluster != cluster.name:
        what = f"the backup is of the cluster {saved.cluster}, and the inventory names {cluster.name}"
        raise BackupError(Problem(what, str(cluster.path), f"name another backup; or write `cluster: {saved.cluster}`"))
    there = next((one for one in planes.known() if one.name == saved.plane), None)
    if there is None:
        what = f"the backup is of the control plane {saved.plane}, which this version does not have"
        raise BackupError(Problem(what, "backup", "name another backup"))
    if cluster.control_plane not in ("auto", there.name):
        what = f"docker.control_plane: {cluster.control_plane}, and the backup is of {there.name}"
        raise BackupError(Problem(what, str(cluster.path), f"write `control_plane: {there.name}`, or auto"))
    recorded = planes.recorded(cluster)
    if recorded and recorded.name != there.name:
        what = f"the cluster was provisioned with {recorded.name}, and the backup is of {there.name}"
        advice = f"name a backup of {recorded.name}; or, to go back: mv {cluster.folder} {cluster.folder}.before"
        raise BackupError(Problem(what, str(cluster.folder), advice))
    goes_on = record.under_way(cluster) is not None
    restore = record.of(cluster, saved)
    files = identity.missing(cluster, saved.identity, goes_on=goes_on)
    return Fit(replace(saved, restore=restore.identity), there, restore, files)


def surveyed(session: Session, fit: Fit, survey: Survey, lost: Sequence[str]) -> Way:
    """Look at the nodes that answer, and for obstacles; return what leads to the restored cluster. PreflightRefused."""
    saved = fit.saved
    situation = _answering(session, survey, lost)
    if fit.restore.restored:
        return _set_up(session, fit, situation)
    given_up = _living(session, fit, situation, lost)
    situation = with_local(session, situation, saved if fit.identity else None)
    surviving = foreseen.surviving(situation, saved, fit.restore.ran)
    session.aim_at(phases.returning(session.plane, surviving))
    situation = steps.with_flows(session, tunnels.tried(session.plane, situation, survey.remotes), survey.remotes)
    stages = tuple(_with_networks(stage, saved) for stage in steps.stages_to(session, Goal.CONVERGE)(situation))
    warnings = steps.warned(session, stages[-1].foresee(situation))
    return Way(
        fit,
        situation,
        stages,
        surviving,
        given_up,
        (*foreseen.differences(situation, saved), *warnings),
    )


def _set_up(session: Session, fit: Fit, situation: Situation) -> Way:
    """Return the way of a restore whose cluster is set up: only its end is left. Other hosts are left as they are."""
    there = {name: facts for name, facts in situation.facts.items() if name in fit.restore.restored}
    nodes = tuple(node for node in situation.cluster.nodes if node.name in there)
    if not nodes:
        names = ", ".join(fit.restore.restored)
        raise ConnectionFailed(
            Problem("the cluster is set up on these nodes, and none answers", names, "bring one back")
        )
    situation = replace(situation, cluster=replace(situation.cluster, nodes=nodes), facts=there)
    situation = foreseen.with_networks(with_local(session, situation), fit.saved)
    surviving = foreseen.surviving(situation, fit.saved, fit.restore.ran)
    return Way(fit, situation, (), surviving, (), tuple(foreseen.differences(situation, fit.saved)))


def _answering(session: Session, survey: Survey, lost: Collection[str]) -> Situation:
    """Return the situation of the nodes that answer. ConnectionFailed unless all others are named as lost."""
    situation = survey.situation
    known = {node.name for node in session.cluster.nodes}
    if unknown := [name for name in lost if name not in known and not name[:1].isdigit()]:
        what = f"no node has the name {', '.join(unknown)}"
        raise UsageError(Problem(what, "--lost", "name a node of the inventory, or the address of another host"))
    silent = [node for node in session.cluster.nodes if node.name not in situation.facts]
    if not situation.facts or not {node.name for node in silent} <= set(lost):
        names = " ".join(f"--lost {node.name}" for node in silent)
        advice = f"bring them back; take hosts that are gone out of the inventory; or go on without them: {names}"
        what = f"{', '.join(node.name for node in silent)}: no answer"
        raise ConnectionFailed(*survey.unreached, Problem(what, "cluster", advice))
    nodes = tuple(node for node in session.cluster.nodes if node.name in situation.facts)
    return replace(situation, cluster=replace(session.cluster, nodes=nodes))


def _temporary(parent: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a folder for keys, closed to others: on the disk where the cluster's keys are kept. PreflightRefused."""
    try:
        return tempfile.TemporaryDirectory(prefix=".overlay-", dir=parent)
    except OSError as error:
        raise files.refused(error, parent) from error


def with_local(session: Session, situation: Situation, unpacked: Saved | None = None) -> Situation:
    """Return the situation with what the controller keeps and the nodes need. PreflightRefused.

    `unpacked`: a backup, whose identity is read in place of the controller's, from a temporary folder.
    """
    if unpacked:
        with _temporary(session.cluster.path.parent) as folder:
            there = replace(session.cluster, path=Path(folder) / session.cluster.path.name)
            files.put(there.folder, unpacked.identity)
            kept, problems = session.plane.local(there)
    else:
        kept, problems = session.plane.local(session.cluster)
    if problems:
        raise PreflightRefused(*problems)
    whole, missing = session.plane.supplied(
        replace(situation, local=kept, recorded=True), lambda what: session.progress.say(CONTROLLER, what)
    )
    if missing:
        raise PreflightRefused(*missing)
    return whole


def _living(session: Session, fit: Fit, situation: Situation, lost: Collection[str]) -> tuple[str, ...]:
    """Return what is given up. PreflightRefused unless each node is named as lost that has, or may have, a cluster."""
    half_done.refuse(session.cluster, situation.facts, verb="restore")
    if not set(situation.facts) <= set(lost):
        generations.refuse_divided(situation)
    found = outlook.outlook(session.cluster, session.plane.standings(situation))
    living = [*_at_work(found), *_of_another_restore(fit, situation), *_outlived(session, situation)]
    silent = [found.name_of(one) for one in found.silent] if found.may_live else []
    advice = "bring it back; or, if it is lost for good, add --lost {0}"
    what = "does not answer, and may be at work with others: its cluster is not restored over"
    problems = [*living, *(Problem(what, name, advice.format(name)) for name in silent)]
    if unnamed := [one for one in problems if one.where not in lost]:
        raise PreflightRefused(*unnamed)
    return tuple(f"give up {one.where}: {one.what}" for one in living)


def _at_work(found: Outlook) -> Iterator[Problem]:
    """Yield each node whose cluster lives, or would live again if its members were started."""
    advice = "fab status shows it; if the backup is to take its place, add --lost {0}"
    for one in found.standings:
        if one.has_quorum and (there := _contents(one)):
            what = f"the cluster lives here, with a quorum: {there}, and what was changed since would be lost"
            yield Problem(what, one.node.name, advice.format(one.node.name))
    able = [one.node.name for one in found.holders if one.node.address in found.members]
    if len(able) >= found.needed and not found.has_quorum:
        what = f"has its data, as a majority of the {len(found.members)} members has: they may only have to be started"
        yield from (Problem(what, name, advice.format(name)) for name in able)


def _of_another_restore(fit: Fit, situation: Situation) -> Iterator[Problem]:
    """Yield each node that has the mark of another restore."""
    for name in generations.being_restored(situation.facts):
        other = situation.facts[name].values["restore"].partition(" ")[0]
        if other != fit.restore.identity:
            advice = f"end that one, from the controller that began it; or, to restore over it, add --lost {name}"
            yield Problem(f"another restore is under way here, {other}", name, advice)


def _outlived(session: Session, situation: Situation) -> Iterator[Problem]:
    """Yield each node that was given up in a recovery, where only such nodes have data: they may be at work."""
    plane = session.plane
    for name in generations.returned(plane, situation) if generations.outlived(plane, situation) else ():
        what = f"was given up in the recovery of {generations.moment(situation, name)}, and may be at work since"
        yield Problem(what, name, f"if the backup is to take its place, add --lost {name}")


def _contents(standing: Standing) -> str:
    """Say what a node's cluster has in it; empty where that is nothing."""
    networks = f"networks {', '.join(sorted(standing.networks))}" if standing.networks else ""
    networks = networks if standing.lists_networks else "networks that it does not list"
    return "; ".join(filter(None, (networks, *standing.contents)))


def _with_networks(stage: Stage, saved: Saved) -> Stage:
    """Return the stage with the saved networks in its situation, if it is not one that only prepares the hosts."""

    def added(now: Situation) -> Situation:
        return now if now.preparing else foreseen.with_networks(now, saved)

    return Stage(lambda now: added(stage.enter(now)), stage.title, lambda now: added(stage.foresee(now)))
