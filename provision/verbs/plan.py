"""plan: what provision would change. Nothing is written on a node."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from provision import engine
from provision.core.plan import Plan, joined
from provision.core.plane import Goal
from provision.core.table import Table
from provision.errors import Exit, Problem
from provision.migration import record as migration
from provision.report import Report
from provision.verbs.session import Session
from provision.verbs.steps import Stages, changes, entered, foreseen, looked_at, restarts, stages_to


def run_plan(session: Session, *, exit_code: bool, ignore: Sequence[str]) -> Report:
    """Say what provision would change; while a migration is under way, what is left of that."""
    if migration.under_way(session.cluster):
        from provision.verbs.migrate import what_is_left

        return what_is_left(session, "plan", exit_code=exit_code, ignore=ignore)
    goal = stages_to(session, Goal.CONVERGE)
    return planned(session, "plan", goal, exit_code=exit_code, ignored=session.ignored(ignore))


def planned(session: Session, verb: str, to_goal: Stages, *, exit_code: bool, ignored: Collection[str]) -> Report:
    """Say what the first stage would change, and of later ones what can be known now."""
    with session.survey(absent=True) as (remotes, situation):
        situation, warnings = looked_at(session, situation, remotes, ignored)
        stages = to_goal(situation)
        later = foreseen(session, situation, remotes, stages)
        plan = engine.make_plan(session.plane, entered(session, situation, remotes, stages[0]))
    afterwards = joined(later)
    pending = len(plan) or len(afterwards)
    return Report(
        verb,
        _summary(plan, afterwards) if pending else "nothing to change",
        Exit.PENDING if exit_code and pending else Exit.DONE,
        changes=plan.changes,
        tables=_tables(later),
        warnings=(*warnings, *(Problem(f"afterwards {stage.title}", "cluster") for stage in stages[1:])),
        times=tuple(session.progress.times.items()),
    )


def _summary(plan: Plan, afterwards: Plan) -> str:
    now = f"{changes(plan)} pending" + (f", {restarts(plan)}" if plan.restarts else "")
    return now + (f"; afterwards {changes(afterwards)}, {restarts(afterwards)}" if len(afterwards) else "")


def _tables(later: Sequence[Plan]) -> tuple[Table, ...]:
    """Return a row for each change of the stages after the first, which are numbered from 2."""
    rows = tuple(
        (str(number), change.where, change.action, change.resource, ", ".join(change.stops), change.note)
        for number, plan in enumerate(later, 2)
        for change in plan
    )
    columns = ("stage", "where", "action", "what", "stops for good", "note")
    return (Table("afterwards", "Afterwards", columns, rows),) if rows else ()
