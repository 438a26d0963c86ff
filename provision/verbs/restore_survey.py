"""What is found before a restore: whether the backup fits, whether a cluster lives, and what is to be done."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
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
from provision.migration import record as migration
from provision.network import tunnels
from provision.pki import files
from provision.recovery import outlook
from provision.recovery import record as recovery
from provision.verbs import steps
from provision.verbs.session import Session, Survey


@dataclass(frozen=True)
class Fit:
    """A backup that fits: its control plane, without the phases of a restore; the restore, and what that needs here."""

    saved: Saved
    plane: Plane
    restore: Restore
    #: Whether a restore that was killed goes on.
    goes_on: bool
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
    migration.refuse(cluster)
    recovery.refuse(cluster)
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
    return Fit(replace(saved, restore=restore.identity), there, restore, goes_on, files)


def surveyed(session: Session, fit: Fit, survey: Survey, lost: Sequence[str]) -> Way:
    """Look at the nodes that answer, and for obstacles; return what leads to the restored cluster. PreflightRefused."""
    saved = fit.saved
    situation = _answering(session, survey, lost)
    situation = with_local(session, situation, saved if fit.identity else None)
    given_up = () if fit.goes_on else _living(session, situation, lost)
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
            identity.put(there.folder, unpacked.identity)
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


def _living(session: Session, situation: Situation, lost: Collection[str]) -> tuple[str, ...]:
    """Return what a living cluster loses. PreflightRefused unless each of its nodes is named as lost."""
    found = outlook.outlook(session.cluster, session.plane.standings(situation))
    living = [one for one in found.standings if one.has_quorum and one.networks]
    silent = [found.name_of(one) for one in found.silent] if found.may_live else []
    problems = [_problem(one) for one in living if one.node.name not in lost]
    problems += [
        Problem(
            "does not answer, and may be at work with others: its cluster is not restored over",
            name,
            f"bring it back; or, if it is lost for good, add --lost {name}",
        )
        for name in silent
        if name not in lost
    ]
    if problems:
        raise PreflightRefused(*problems)
    return tuple(f"give up what {one.node.name} has: {_networks(one)}" for one in living)


def _networks(standing: Standing) -> str:
    return f"networks {', '.join(sorted(standing.networks))}"


def _problem(standing: Standing) -> Problem:
    name = standing.node.name
    what = f"the cluster lives here, with a quorum: {_networks(standing)}, and what was changed since would be lost"
    return Problem(what, name, f"fab status shows it; if the backup is to take its place, add --lost {name}")


def _with_networks(stage: Stage, saved: Saved) -> Stage:
    """Return the stage with the saved networks in its situation, if it is not one that only prepares the hosts."""

    def added(now: Situation) -> Situation:
        return now if now.preparing else foreseen.with_networks(now, saved)

    return Stage(lambda now: added(stage.enter(now)), stage.title, lambda now: added(stage.foresee(now)))
