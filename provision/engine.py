"""Facts compared, a plan, and the plan carried out: the same value shown by `plan` and done by `provision`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, CONTROLLER, Change, Plan
from provision.core.plane import Coordinator, Plane
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem, StepFailed
from provision.inventory.model import Node
from provision.node import library
from provision.remote import Remote
from provision.report.progress import Progress
from provision.resources import UPLOADS, Difference, Resource


@dataclass(frozen=True)
class Step:
    """One resource of one node that differs, in its phase."""

    node: Node
    phase: Phase
    resource: Resource
    difference: Difference

    @property
    def change(self) -> Change:
        """The change as the plan shows it."""
        return Change(
            self.node.name,
            self.phase.name,
            self.resource.name,
            self.difference.action,
            diff=self.difference.diff,
            note=self.difference.note,
            stops=self.difference.stops,
            consent=self.difference.consent and f"{self.difference.consent} on {self.node.name}",
        )


def steps(plane: Plane, situation: Situation) -> tuple[Step, ...]:
    """Compare everything with its facts. Pure."""
    return tuple(
        Step(node, phase, resource, difference)
        for phase in _phases(plane, situation)
        for node in situation.cluster.nodes
        for resource in phase.resources(situation, node)
        if (difference := resource.compare(situation.of(node)))
    )


def _phases(plane: Plane, situation: Situation) -> tuple[Phase, ...]:
    """Return the phases of this stage."""
    return tuple(phase for phase in plane.phases if phase.prepares or not situation.preparing)


def make_plan(plane: Plane, situation: Situation) -> Plan:
    """Return every change in the order it is made. Pure. PreflightRefused where no order leads there."""
    if problems := plane.blockers(situation):
        raise PreflightRefused(*problems)
    return _in_order(plane, steps(plane, situation), _cluster_changes(plane, situation))


def foresee(plane: Plane, before: Situation, after: Situation) -> Plan:
    """Return what leads from where one stage ends to where the next one does, though neither is made yet. Pure.

    What both want alike is not touched. The facts are those of now: they tell what else differs, and what runs.
    """
    phases = _phases(plane, before)
    held = {
        node.name: {resource.name: resource for phase in phases for resource in phase.resources(before, node)}
        for node in after.cluster.nodes
    }
    todo = []
    for step in steps(plane, after):
        there = held[step.node.name].get(step.resource.name)
        if there != step.resource:
            todo.append(_once_more(step) if there else step)
    earlier = _cluster_changes(plane, before)
    changes = {
        name: tuple(change for change in of_phase if change not in earlier.get(name, ()))
        for name, of_phase in _cluster_changes(plane, after).items()
    }
    return _in_order(plane, todo, changes)


def _once_more(step: Step) -> Step:
    """Return the step on what the stage before has made: its digest and text are not known yet."""
    now = step.difference
    action = now.again or now.action
    return replace(step, difference=replace(now, action=action, diff="", note=now.note if action == "restart" else ""))


def _cluster_changes(plane: Plane, situation: Situation) -> Mapping[str, tuple[Change, ...]]:
    return {phase.name: phase.cluster_changes(situation) for phase in _phases(plane, situation)}


def _in_order(plane: Plane, todo: Sequence[Step], of_cluster: Mapping[str, Sequence[Change]]) -> Plan:
    changes: list[Change] = []
    for phase in plane.phases:
        mine = of_cluster.get(phase.name, ())
        changes += [change for change in mine if change.where == CONTROLLER]
        changes += [step.change for step in todo if step.phase is phase]
        changes += [change for change in mine if change.where == CLUSTER]
    return Plan(tuple(changes))


def carry_out(
    plane: Plane, situation: Situation, plan: Plan, coordinator: Coordinator, progress: Progress
) -> Situation:
    """Make every change of the plan; return the situation with the certificates made for it.

    StepFailed names the node, the step, and what was done before it.
    """
    phases = _phases(plane, situation)
    for phase in phases:
        if plan.of(CONTROLLER, phase.name):
            progress.say(CONTROLLER, f"phase {phase.name}")
            situation = phase.change_controller(situation)
            coordinator.aim(situation)
    todo = steps(plane, situation)
    for phase in phases:
        with progress.stage(phase.name):
            mine = tuple(step for step in todo if step.phase is phase)
            _change_nodes(phase, situation, coordinator, mine, progress)
            for change in plan.of(CLUSTER, phase.name):
                progress.say(CLUSTER, f"{change.action} {change.resource}")
                progress.notes.extend(phase.change_cluster(situation, coordinator, change) or ())
    return situation


def _change_nodes(
    phase: Phase, situation: Situation, coordinator: Coordinator, mine: tuple[Step, ...], progress: Progress
) -> None:
    for wave in phase.waves(situation, _changes_by_node(mine)):
        if wave:
            coordinator.remotes.check_lock()
            if phase.waits_for:
                progress.say(CLUSTER, f"waiting for {phase.waits_for}")
            phase.before(situation, coordinator, wave)
            if mine:
                coordinator.remotes.each(lambda remote: _change_node(remote, phase, mine, progress), wave)
            phase.after(situation, coordinator, wave)


def _changes_by_node(mine: Sequence[Step]) -> Mapping[str, list[Change]]:
    by_node: dict[str, list[Change]] = {}
    for step in mine:
        by_node.setdefault(step.node.name, []).append(step.change)
    return by_node


def _change_node(remote: Remote, phase: Phase, mine: Sequence[Step], progress: Progress) -> None:
    todo = [step for step in mine if step.node == remote.node]
    uploads = [upload for step in todo if (upload := step.resource.upload())]
    if uploads:
        remote.run(f"umask 077 && mkdir -p {UPLOADS}", changes=True, what=f"making {UPLOADS}")
    for upload in uploads:
        progress.say(remote.node.name, f"{phase.name}: upload {upload.source.name}")
        remote.push(upload.source, upload.path)
    progress.say(remote.node.name, f"{phase.name}: {_count(len(todo), 'change')}")
    result = remote.run(node_script(todo), timeout=phase.seconds, changes=True, what=f"phase {phase.name}")
    progress.notes.extend(notes(result.stderr, remote.node))
    if result.code:
        recorded, *done = result.stdout.splitlines() or [""]
        failed = todo[len(done)] if len(done) < len(todo) else todo[-1]
        what = f"{failed.difference.action} {failed.resource.name}" if recorded else "recording what was there before"
        raise StepFailed(
            Problem(
                f"{what} failed: {result.stderr.strip()[-1500:]}",
                where=f"{remote.node.name}, phase {phase.name}",
                advice=f"{_count(len(done), 'change')} of {len(todo)} in this phase "
                f"{'was' if len(done) == 1 else 'were'} made; mend the cause, run provision again: it goes on here",
            )
        )


def notes(printed: str, node: Node) -> tuple[Problem, ...]:
    """Return what the function `note` of a script has printed."""
    prefix = "note: "
    return tuple(
        Problem(line.removeprefix(prefix), node.name) for line in printed.splitlines() if line.startswith(prefix)
    )


def node_script(todo: Sequence[Step]) -> str:
    """Return the script of one node in one phase: remember everything, then change. It prints a line after each."""
    remembered = [step.resource.remember() for step in todo]
    applied = [f"{step.resource.apply(step.difference)}\necho done" for step in todo]
    return "\n".join(
        [library("record", "changes"), *remembered, "sync_path $state", "echo recorded", "set -e", *applied, ""]
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
