"""The steps of a run, as interposed.py names them, at each of which a controller may be killed."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from observe import document, manifest

from provision import engine
from provision import lab as labs
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.lab import Lab

if TYPE_CHECKING:
    from conftest import Fab


def steps_of(plane: Plane, situation: Situation) -> tuple[str, ...]:
    """Return every step of a first stage, from its plan; an upload comes before the phase that it is for."""
    sent = {
        (step.node.name, step.phase.name): f"{step.node.name}: sending {upload.path}"
        for step in engine.steps(plane, situation)
        if (upload := step.resource.upload())
    }
    places = dict.fromkeys((change.where, change.phase) for change in engine.make_plan(plane, situation).changes)
    return tuple(
        name for where, phase in places for name in (sent.get((where, phase)), f"{where}: phase {phase}") if name
    )


def kills(steps: Sequence[str]) -> list[tuple[str, str]]:
    """Return each step, before it and after it."""
    return [(step, when) for step in steps for when in ("before", "after")]


def planned(changes: Sequence[dict[str, str]]) -> set[str]:
    """Return the steps of a real plan, without uploads."""
    return {f"{change['where']}: phase {change['phase']}" for change in changes}


def phases(steps: Sequence[str]) -> set[str]:
    """Return the steps without uploads."""
    return {step for step in steps if ": phase " in step}


def assert_completed(
    lab: Lab, fab: Fab, start: dict[str, list[str]], kill: tuple[str, str], settled: Callable[[], None]
) -> None:
    """Kill a first provision; assert that it is completed by the runs of `settled`, and that a reset leaves no trace.

    `start`: the manifest of each host before the first run.
    """
    if (lab.folder / ".overlay").exists():  # the test before failed
        labs.renew(lab.name, say=lambda _: None)
        shutil.rmtree(lab.folder / ".overlay")
    assert fab(lab, "provision", at=(*kill, "die")).returncode == -signal.SIGKILL
    settled()
    document(fab(lab, "reset", "--yes", "--json"))
    shutil.rmtree(lab.folder / ".overlay")
    assert {each.name: manifest(lab, each.name) for each in lab.nodes} == start
