"""certs: every certificate and its end; leaves and authorities renewed; a cluster taken over by a new controller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from provision.checks import outgrown
from provision.core.plane import Goal
from provision.core.table import Table
from provision.core.validity import left
from provision.errors import Problem, UsageError
from provision.report import Report
from provision.verbs.plan import planned
from provision.verbs.provision import converged
from provision.verbs.session import Session
from provision.verbs.steps import FOREIGN, stages_to


def run_certs(
    session: Session, *, rotate: bool, authority: bool, plan: bool, adopt: bool, yes: bool, ignore: Sequence[str]
) -> Report:
    """Show certificates; with `rotate` renew all leaves, with `authority` the authorities; with `adopt` take over."""
    if ((authority or plan) and not rotate) or (adopt and rotate):
        advice = (
            "--rotate: all leaves; with --authority: the authorities too; with --plan: only say what. --adopt: alone"
        )
        raise UsageError(Problem("these flags do not go together", "certs", advice))
    ignored = session.ignored(ignore)
    if adopt:
        with session.survey("certs", absent=True) as (remotes, situation):
            stages = session.plane.adoption(situation, remotes)
        return converged(session, "certs", lambda _: stages, yes=yes, ignored=ignored | {FOREIGN})
    if not rotate:
        return _shown(session)
    goal = stages_to(session, Goal.ROTATE if authority else Goal.RENEW)
    if plan:
        return planned(session, "certs", goal, exit_code=False, ignored=ignored)
    return converged(session, "certs", goal, yes=yes, ignored=ignored)


def _shown(session: Session) -> Report:
    with session.partial_survey() as survey:
        found = tuple(session.plane.certificates(survey.situation))
        too_new = outgrown.problems(session.plane, survey.situation)
        warnings = (*survey.unreached, *too_new, *session.plane.warnings(survey.situation))
    now = datetime.now(UTC)
    rows = tuple((one.what, f"{one.end:%Y-%m-%d}", left(one.end, now), one.where) for one in found)
    first = min(found, key=lambda one: one.end, default=None)
    return Report(
        "certs",
        f"{len(rows)} certificates; the first to end: {first.what}, {left(first.end, now)}"
        if first
        else "there are no certificates yet: provision makes them",
        tables=(Table("certificates", "Certificates", ("certificate", "end", "left", "where"), rows),),
        warnings=warnings,
    )
