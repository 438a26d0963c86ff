"""The record of faults: a line for each row and run of it, at the end of a table in Markdown."""

from __future__ import annotations

import re
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest

_TEST = re.compile(r"test_(?P<rows>\d+(?:_\d+)*)_(?P<words>[a-z_0-9]+)(?:\[(?P<how>.*)\])?")
_ROUND = re.compile(r"-?round\d+")


class Record:
    """Gathers what the tests of faults report, and writes it when all have run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[tuple[str, str], list[float | None]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        test = _TEST.fullmatch(item.name)
        if report.when == "call" and test and "back" in getattr(item, "fixturenames", ()):
            how = _ROUND.sub("", test["how"] or "").strip("-")
            what = test["words"].replace("_", " ") + (f" ({how})" if how else "")
            took = dict(report.user_properties).get("recovered") if report.passed else None
            seconds = float(str(took)) if took is not None else None
            self.seen.setdefault((test["rows"].replace("_", ", "), what), []).append(seconds)
        return report

    def pytest_sessionfinish(self) -> None:
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        with self.path.open("a") as file:
            file.writelines(line(today, rows, what, took) for (rows, what), took in self.seen.items())


def line(today: str, rows: str, what: str, took: list[float | None]) -> str:
    """One line of the table."""
    back = sorted(seconds for seconds in took if seconds is not None)
    figures = f"{median(back):.1f} | {back[-1]:.1f}" if back else " | "
    return f"| {today} | {rows} | {what} | {len(took)} | {len(back)} | {figures} |\n"
