"""The report for people: colour on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table as RichTable
from rich.text import Text

from provision.checks import Outcome
from provision.errors import Exit, Problem
from provision.plan import Change
from provision.report import Report, Table

_MARKS = {"passed": ("✔", "green"), "failed": ("✘", "red"), "warning": ("!", "yellow")}
_SIGNS = {
    "create": ("+", "green"),
    "add": ("+", "green"),
    "load": ("+", "green"),
    "remove": ("-", "red"),
    "restart": ("↻", "yellow"),
}


def show(report: Report, console: Console) -> None:
    """Print it."""
    console.print(Group(*_parts(report)), soft_wrap=not console.is_terminal, highlight=False)


def _parts(report: Report) -> Iterator[RenderableType]:
    for problem in report.warnings:
        yield Text(f"! {problem}", "yellow")
    if report.changes:
        yield from _changes(report.changes)
    if report.outcomes:
        yield from _outcomes(report.outcomes)
    for table in report.tables:
        yield _table(table)
    for problem in report.problems:
        yield Text(f"✘ {problem}", "red")
    if report.times:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.times if seconds >= 0.05)
        yield Text(f"time: {spent}", "dim")
    yield Text(
        report.summary,
        "bold green"
        if report.exit_code == Exit.DONE
        else "bold yellow"
        if report.exit_code == Exit.PENDING
        else "bold red",
    )


def _changes(changes: Sequence[Change]) -> Iterator[RenderableType]:
    for (where, phase), group in groupby(changes, key=lambda change: (change.where, change.phase)):
        yield Text(f"{where} · {phase}", "bold")
        for change in group:
            sign, colour = _SIGNS.get(change.action, ("~", "cyan"))
            note = f"  ({change.note})" if change.note else ""
            yield Text(f"  {sign} {change.action} {change.resource}{note}", colour)
            if change.stops:
                yield Text(f"    stops for good: {', '.join(change.stops)}", "bold red")
            if change.diff:
                yield Padding(Syntax(change.diff.rstrip(), "diff", background_color="default"), (0, 0, 0, 6))


def _outcomes(outcomes: Sequence[Outcome]) -> Iterator[RenderableType]:
    for check, group in groupby(outcomes, key=lambda outcome: outcome.check):
        yield Text(check, "bold")
        for outcome in group:
            mark, colour = _MARKS[outcome.status]
            yield Text.assemble((f"  {mark} ", colour), (outcome.where, "bold"), f"  {outcome.evidence}")
            if outcome.advice and outcome.status != "passed":
                yield Text(f"      → {outcome.advice}", "yellow")


def _table(table: Table) -> RenderableType:
    drawn = RichTable(title=table.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in table.columns:
        drawn.add_column(column, overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return Group(Text(""), drawn) if table.rows else Text(f"{table.title}: none")


def show_error(title: str, problems: Sequence[Problem], console: Console) -> None:
    """Print an error that ended the run: its title, then every problem."""
    console.print(Text(title, "bold red"), soft_wrap=True)
    for problem in problems:
        console.print(Text(f"  ✘ {problem}"), soft_wrap=True, highlight=False)
