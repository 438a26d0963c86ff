"""The report as one HTML page: a picture, a matrix, and each check's evidence, collapsed. The page loads nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from provision.core.outcome import Outcome
from provision.core.plan import Change
from provision.core.reach import Flow
from provision.errors import Exit
from provision.report import Report
from provision.report.topology import drawn

_STATES = {
    Exit.DONE: ("good", "done"),
    Exit.PENDING: ("warn", "changes pending"),
    Exit.REFUSED: ("bad", "refused"),
    Exit.VERIFICATION_FAILED: ("bad", "failed"),
    Exit.LOCKED: ("bad", "locked"),
    Exit.INTERRUPTED: ("bad", "interrupted"),
}


@dataclass(frozen=True)
class Checked:
    """A check, its purpose, and its outcomes in all places."""

    name: str
    why: str
    outcomes: tuple[Outcome, ...]

    @property
    def state(self) -> str:
        """The worst status of its outcomes."""
        states = {outcome.status for outcome in self.outcomes}
        return "failed" if "failed" in states else "warning" if "warning" in states else "passed"

    @property
    def seconds(self) -> float:
        """The time that its outcomes took together."""
        return sum(outcome.seconds for outcome in self.outcomes)


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix: its label, and the details of everything that was sent."""

    state: str
    label: str
    details: str


def page(report: Report) -> str:
    """Return the page. All text of the report is escaped, so that a daemon's output is never markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    state, word = _STATES.get(report.exit_code, ("bad", "failed"))
    names = [node.name for node in report.subject.nodes] if report.subject else []
    return environment.get_template("page.html.j2").render(
        report=report,
        state=state,
        word=word,
        now=datetime.now(UTC),
        tiles=_tiles(report),
        picture=drawn(report.subject, report.flows) if report.subject else None,
        names=names,
        matrix=matrix(report.flows),
        checks=checks(report.outcomes),
        changes=[(where, tuple(one)) for where, one in groupby(report.changes, key=_place)],
        pending=_is_pending(report),
        seconds=sum(seconds for _, seconds in report.times),
        style=(Path(__file__).parent / "page.css").read_text(encoding="utf-8"),
    )


def checks(outcomes: Iterable[Outcome]) -> list[Checked]:
    """Group the outcomes by check, in the order of each check's first outcome."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.check, []).append(outcome)
    # Failures come first: there may be one among 380 outcomes.
    failed_first = ((name, sorted(seen, key=lambda one: one.status != "failed")) for name, seen in by_name.items())
    return [Checked(name, seen[0].about, tuple(seen)) for name, seen in failed_first]


def matrix(ways: Iterable[Flow]) -> dict[tuple[str, str], Cell]:
    """Return a cell for each pair of nodes, if something was sent from the first to the second."""
    seen: dict[tuple[str, str], list[Flow]] = {}
    for way in ways:
        seen.setdefault((way.source, way.target), []).append(way)
    return {pair: _cell(each) for pair, each in seen.items()}


def _cell(ways: list[Flow]) -> Cell:
    details = "\n".join(f"{'✔' if way.came else '✘'} {way.what}" for way in ways)
    lost = [way for way in ways if not way.came]
    if lost:
        return Cell("bad", f"✘ {lost[0].what}" if len(lost) == 1 else f"✘ {len(lost)} of {len(ways)}", details)
    times = [way.milliseconds for way in ways if way.milliseconds is not None]
    return Cell("good", f"{min(times):.2f} ms" if times else f"✔ {len(ways)}", details)


def _tiles(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield the figures: a CSS class, the figure, its label."""
    count = Counter(outcome.status for outcome in report.outcomes)
    if report.outcomes:
        yield "good" if count["passed"] else "", str(count["passed"]), "checks passed"
        yield "bad" if count["failed"] else "", str(count["failed"]), "failed"
    if count["warning"]:
        yield "warn", str(count["warning"]), "not tried or ignored"
    if report.problems:
        yield "bad", str(len(report.problems)), "problem" + "s" * (len(report.problems) != 1)
    if report.changes:
        yield "", str(len(report.changes)), "changes pending" if _is_pending(report) else "changes made"
        restarts = sum(change.restarts for change in report.changes)
        yield "warn" if restarts else "", str(restarts), "restarts"
    if report.subject:
        yield "", str(len(report.subject.nodes)), "nodes"


def _is_pending(report: Report) -> bool:
    return report.verb in ("plan", "verify")


def _place(change: Change) -> tuple[str, str]:
    return change.where, change.phase
