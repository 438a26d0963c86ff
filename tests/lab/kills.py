"""The steps of a run, as interposed.py names them, at each of which a controller may be killed."""

from __future__ import annotations

from collections.abc import Sequence

from provision import engine
from provision.core.plane import Plane
from provision.core.situation import Situation


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
