"""The report as lines of text: in colour on a terminal, plain elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TextIO

from provision.core.outcome import Outcome
from provision.core.plan import Change
from provision.errors import Exit, Problem
from provision.report import Report, layout
from provision.report.layout import Line

_MARKS = {"passed": Line("✔", "green"), "failed": Line("✘", "red"), "warning": Line("!", "yellow")}
_SIGNS = {
    "create": Line("+", "green"),
    "install": Line("+", "green"),
    "add": Line("+", "green"),
    "load": Line("+", "green"),
    "remove": Line("-", "red"),
    "free": Line("-", "red"),
    "restart": Line("↻", "yellow"),
    "upgrade": Line("↑", "yellow"),
}
_DIFF = {"+": "green", "-": "red", "@": "cyan"}


def show(report: Report) -> None:
    """Print a report on standard output. A report that holds only problems goes to standard error."""
    if report.problems and not report.changes and not report.outcomes and not report.tables:
        write([Line(report.summary, "bold red"), *_problems(report.problems), *_bundle(report)], sys.stderr)
    else:
        write(lines(report, _width(sys.stdout)), sys.stdout)


def _width(stream: TextIO) -> int:
    """Return the width of a terminal; elsewhere a row is one line, however long."""
    return shutil.get_terminal_size().columns if stream.isatty() else layout.UNLIMITED


def write(text: Iterable[Line], stream: TextIO) -> None:
    """Print lines, with their style if the stream is a terminal."""
    if not stream.isatty():
        stream.writelines(f"{line.text}\n" for line in text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream)
    for line in text:
        console.print(Text(line.text, line.style), soft_wrap=True)


def lines(report: Report, width: int = layout.UNLIMITED) -> Iterator[Line]:
    """Yield the whole report, the most important line last. Tables fit into `width` characters."""
    for warning in report.warnings:
        yield Line(f"! {warning}", "yellow")
    for (where, phase), changes in groupby(report.changes, key=lambda change: (change.where, change.phase)):
        yield Line(f"{where} · {phase}", "bold")
        for change in changes:
            yield from _change(change)
    for check, outcomes in groupby(report.outcomes, key=lambda outcome: outcome.check):
        yield Line(check, "bold")
        for outcome in outcomes:
            yield from _outcome(outcome)
    for table in report.tables:
        yield from layout.lines(table, width)
    yield from _problems(report.problems)
    yield from _bundle(report)
    if report.times:
        spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.times if seconds >= 0.05)
        yield Line(f"time: {spent}", "dim")
    yield Line(report.summary, {Exit.DONE: "bold green", Exit.PENDING: "bold yellow"}.get(report.exit_code, "bold red"))


def _change(change: Change) -> Iterator[Line]:
    sign = _SIGNS.get(change.action, Line("~", "cyan"))
    note = f"  ({change.note})" if change.note else ""
    yield Line(f"  {sign.text} {change.action} {change.resource}{note}", sign.style)
    if change.stops:
        yield Line(f"    stops for good: {', '.join(change.stops)}", "bold red")
    for line in change.diff.splitlines():
        yield Line(f"      {line}", _DIFF.get(line[:1], ""))


def _outcome(outcome: Outcome) -> Iterator[Line]:
    mark = _MARKS[outcome.status]
    first, *more = outcome.evidence.splitlines() or [""]
    style = "" if outcome.status == "passed" else mark.style
    yield Line(f"  {mark.text} {outcome.where}  {first}", style)
    for line in more:
        yield Line(f"      {line}")
    if outcome.advice and outcome.status != "passed":
        yield Line(f"      → {outcome.advice}", "yellow")


def _bundle(report: Report) -> Iterator[Line]:
    if report.bundle:
        yield Line(f"diagnostics of the nodes, without secrets: {report.bundle}")


def _problems(problems: Iterable[Problem]) -> Iterator[Line]:
    for problem in problems:
        yield Line(f"  ✘ {problem}", "red")
