"""backup: one archive with all that sets the cluster up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

from provision.backup import archive, destination, foreseen, identity
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.core.table import Table
from provision.docker.containers import SCRIPT
from provision.errors import ConnectionFailed, PreflightRefused, Problem, StepFailed
from provision.phases.installation import docker_version
from provision.recovery import generations
from provision.remote import Remote
from provision.report import Report
from provision.verbs import half_done, steps
from provision.verbs.session import Session, Survey

WARNING = "whoever can read it is root on every node: keep it as secret as a root password"


def run_backup(session: Session, *, file: str, stream: BinaryIO | None) -> Report:
    """Save the cluster into one archive. Nothing stops, and no node changes. `stream`: standard output, for `-`."""
    where = destination.checked(file, stream)
    half_done.refuse(session.cluster)
    with session.partial_survey() as survey:
        situation = _answering(session, survey)
        with survey.remotes.lock("backup", shared=True, run=session.run), session.progress.stage("read"):
            answers = survey.remotes.each(_containers)
            with session.coordinator(survey.remotes, situation) as coordinator:
                files = coordinator.save(situation)
            saved = _saved(session, situation, files)
    data = archive.packed(saved, answers)
    saved = archive.read(data)  # what cannot be read is not written
    with session.progress.stage("write"):
        destination.write(where, data)
    returned = generations.warnings(session.plane, survey.situation)
    return _report(session, saved, where, len(data), returned)


def _answering(session: Session, survey: Survey) -> Situation:
    """Return the situation of the nodes that answer. PreflightRefused where they are no cluster at work."""
    situation = survey.situation
    if not situation.facts:
        raise ConnectionFailed(*survey.unreached)
    half_done.refuse(session.cluster, situation.facts)
    if not steps.is_provisioned(session.plane, situation):
        raise PreflightRefused(Problem(steps.NOT_PROVISIONED, "cluster", "there is nothing to save"))
    generations.refuse(session.plane, situation)
    if problems := session.plane.outage(situation):
        raise PreflightRefused(*problems)
    nodes = tuple(node for node in session.cluster.nodes if node.name in situation.facts)
    return replace(situation, cluster=replace(session.cluster, nodes=nodes))


def _containers(remote: Remote) -> str:
    """Return a node's answer to what its containers should have. StepFailed if it has none."""
    result = remote.run(SCRIPT, what="reading the containers")
    if result.code:
        what = f"cannot read the containers: {result.stderr.strip()[-400:]}"
        raise StepFailed(Problem(what, remote.node.name, "nothing was changed"))
    return result.stdout


def _saved(session: Session, situation: Situation, files: Mapping[str, bytes]) -> Saved:
    return Saved(
        session.plane.name,
        session.cluster.name,
        datetime.now(UTC).isoformat(timespec="seconds"),
        {"overlay-provision": _version()}
        | {f"Docker on {node.name}": docker_version(situation, node) for node in situation.cluster.nodes},
        tuple(node.name for node in session.cluster.nodes if node.name not in situation.facts),
        networks=foreseen.shared(session.plane.saved_networks(situation, files)),
        inventory=session.path.read_bytes(),
        identity=identity.saved(session.cluster),
        files=files,
    )


def _version() -> str:
    try:
        return metadata.version("overlay-provision")
    except metadata.PackageNotFoundError:
        return "unknown"


def _report(session: Session, saved: Saved, where: Path | BinaryIO, size: int, returned: tuple[Problem, ...]) -> Report:
    place = str(where) if isinstance(where, Path) else "standard output"
    missing = f"; without what containers on {', '.join(saved.missing)} should have" if saved.missing else ""
    silent = tuple(
        Problem(
            "does not answer: what its containers should have is not in the backup",
            name,
            "bring it back, and back up again; an earlier backup may know its containers",
        )
        for name in saved.missing
    )
    for one in (*silent, *returned):  # on standard error, too: cron mails that
        session.progress.say(one.where, one.what)
    return Report(
        "backup",
        f"saved to {place}, {size} bytes{missing}; {WARNING}",
        tables=(
            contents(saved),
            Table("backup", "Backup", ("sha256", "moment", "bytes"), ((saved.checksum, saved.moment, str(size)),)),
        ),
        warnings=(*silent, *returned),
        times=tuple(session.progress.times.items()),
    )


def contents(saved: Saved) -> Table:
    """Return what an archive has."""
    rows = (
        ("networks", ", ".join(sorted(one["Name"] for one in saved.networks))),
        ("containers", ", ".join(sorted(f"{one.node}: {one.name}" for one in saved.containers))),
        ("identity", f"{len(saved.identity)} files"),
        (saved.plane, ", ".join(sorted(saved.files))),
    )
    return Table("contents", "What it has", ("what", "which"), rows)
