"""The record of faults: a line for each test of a fault, appended to a table in Markdown."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

_TEST = re.compile(r"test_(?P<rows>\d+(?:_\d+)*)_(?P<words>[a-z_0-9]+)(?:\[(?P<how>.*)\])?")
_ROUND = re.compile(r"-?round\d+")
_SWEPT = {"first", "join", "kill", "leave", "mending"}  # fixtures of tests whose steps share one line


@dataclass(frozen=True)
class Seen:
    """The result of one test: whether it passed, and the seconds until the cluster had recovered, if measured."""

    well: bool
    seconds: float | None


class Record:
    """Collects the results of the tests of faults, and writes them when all have run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[tuple[str, str], list[Seen]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        test = _TEST.fullmatch(item.name)
        if report.when == "call" and test:
            how = (
                "" if _SWEPT & set(getattr(item, "fixturenames", ())) else _ROUND.sub("", test["how"] or "").strip("-")
            )
            what = test["words"].replace("_", " ") + (f" ({how})" if how else "")
            told = dict(report.user_properties)
            what += f" {told['told']}" if "told" in told else ""
            took = told.get("recovered")
            seen = Seen(report.passed, float(str(took)) if took is not None else None)
            self.seen.setdefault((test["rows"].replace("_", ", "), what), []).append(seen)
        return report

    def pytest_sessionfinish(self) -> None:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        with self.path.open("a") as file:
            file.writelines(line(today, rows, what, took) for (rows, what), took in self.seen.items())


def line(today: str, rows: str, what: str, seen: list[Seen]) -> str:
    """Return one line of the table."""
    seconds = sorted(one.seconds for one in seen if one.well and one.seconds is not None)
    figures = f"{median(seconds):.1f} | {seconds[-1]:.1f}" if seconds else " | "
    return f"| {today} | {rows} | {what} | {len(seen)} | {sum(one.well for one in seen)} | {figures} |\n"
