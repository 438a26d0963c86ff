"""FAULTS.md and the tests: no number without a row, no row without a test or a reason."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (?P<row>\d+) \| (?P<fault>[^|]+) \|(?P<reason>[^|]*)\|$", re.MULTILINE)
SWARM = re.compile(r"^\| D(?P<row>\d+) \|[^|]*\|(?P<reason>[^|]*)\|$", re.MULTILINE)
TEST = re.compile(r"def test_a?(?P<rows>\d+(?:_\d+)*)_[a-z]")


def rows() -> dict[int, str]:
    """Each row's reason to have no test; empty where it has one."""
    found = [(int(one["row"]), one["reason"].strip()) for one in ROW.finditer((ROOT / "FAULTS.md").read_text())]
    assert len(dict(found)) == len(found)
    return dict(found)


def numbers(files: str = "test_*.py") -> set[int]:
    """Every number in the name of a test."""
    texts = (path.read_text() for path in (ROOT / "tests").rglob(files))
    return {int(row) for text in texts for test in TEST.finditer(text) for row in test["rows"].split("_")}


def test_every_number_of_a_test_is_a_row() -> None:
    assert sorted(numbers() - set(rows())) == []


def test_every_row_has_a_test_or_says_why_not() -> None:
    assert sorted(row for row, reason in rows().items() if not reason and row not in numbers()) == []


def test_no_row_that_has_a_test_says_that_it_has_none() -> None:
    assert sorted(row for row, reason in rows().items() if reason and row in numbers()) == []


def test_rows_are_numbered_without_a_gap() -> None:
    assert sorted(rows()) == list(range(1, len(rows()) + 1))


def test_every_row_about_security_has_a_test_in_swarm_mode_too_or_says_why_not() -> None:
    text = (ROOT / "FAULTS.md").read_text()
    part = text.partition("## D. ")[2].partition("\n## ")[0]
    reasons = {int(one["row"]): one["reason"].strip() for one in SWARM.finditer(part)}
    assert sorted(reasons) == sorted(int(one["row"]) for one in ROW.finditer(part))
    tested = numbers("test_swarm*.py")
    assert sorted(row for row, reason in reasons.items() if bool(reason) == (row in tested)) == []
