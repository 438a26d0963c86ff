"""plan: what provision would change. Nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from provision import engine
from provision.core.plan import Change, Plan
from provision.core.plane import Goal, Stage
from provision.core.situation import Situation
from provision.core.table import Table
from provision.errors import Exit, Problem
from provision.report import Report
from provision.verbs.session import Session
from provision.verbs.steps import Stages, changes, entered, looked_at, restarts, stages_to


def run_plan(session: Session, *, exit_code: bool, ignore: Sequence[str]) -> Report:
    """Say what provision would change."""
    goal = stages_to(session, Goal.CONVERGE)
    return planned(session, "plan", goal, exit_code=exit_code, ignored=session.ignored(ignore))


def planned(session: Session, verb: str, to_goal: Stages, *, exit_code: bool, ignored: Collection[str]) -> Report:
    """Say what the first stage would change, and what follows."""
    with session.survey(absent=True) as (remotes, situation):
        situation, warnings = looked_at(session, situation, remotes, ignored)
        stages = to_goal(situation)
        plan = engine.make_plan(session.plane, entered(session, situation, remotes, stages[0]))
    return Report(
        verb,
        f"{changes(plan)} pending" + (f", {restarts(plan)}" if plan.restarts else "")
        if len(plan)
        else "nothing to change",
        Exit.PENDING if exit_code and len(plan) else Exit.DONE,
        changes=plan.changes,
        tables=_afterwards(session, situation, stages, plan),
        warnings=(*warnings, *(Problem(f"afterwards {stage.title}", "cluster") for stage in stages[1:])),
        times=tuple(session.progress.times.items()),
    )


def _afterwards(session: Session, situation: Situation, stages: Sequence[Stage], plan: Plan) -> tuple[Table, ...]:
    """Return the changes of later stages, as far as they can be known now."""
    named = set(map(_without_details, plan))
    rows = [
        (change.where, change.action, change.resource, ", ".join(change.stops))
        for stage in stages[1:]
        if stage.foresee
        for change in engine.make_plan(session.plane, stage.enter(stage.foresee(situation)))
        if _without_details(change) not in named
    ]
    columns = ("where", "action", "what", "containers that stop")
    return (Table("afterwards", "Afterwards", columns, tuple(rows)),) if rows else ()


def _without_details(change: Change) -> Change:
    return replace(change, diff="", note="", stops=())
