"""One report, for programs and for people: nothing of it is lost on the way."""

from __future__ import annotations

import contextlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cluster_sample import bare_situation
from pki_sample import sample

from provision.core.outcome import Outcome
from provision.core.plan import Change
from provision.core.table import Table
from provision.engine import make_plan
from provision.errors import Exit, Problem
from provision.planes.etcd.plane import PLANE
from provision.report import Report
from provision.report.document import document as as_document
from provision.report.text import show

LONG = "/a/very/long/path" * 20
DIFF = f"--- f\n+++ f (new)\n@@ -1,2 +1,2 @@\n-old {LONG}\n+new {LONG} [bold]not markup[/bold]\n same\n"
CHANGES = (
    Change("controller", "pki", "leaf docker/controller", "create", note="create"),
    Change("node1", "docker", f"file {LONG}", "update", diff=DIFF, note="waits for the next restart"),
    Change("node1", "docker", "unit docker.service", "restart", stops=("web", "db")),
)
OUTCOMES = (
    Outcome("overlay/ping", "node1 → node2", "passed", "3 of 3 packets", "not shown"),
    Outcome("overlay/ping", "node2 → node1", "failed", f"0 of 3 packets\nsecond line {LONG}", f"open port 4789 {LONG}"),
    Outcome("clocks", "node1", "warning", "0.9 s apart", "chronyc makestep"),
)
MEMBERS = Table("members", "Members of the store", ("name", "state"), (("node1", LONG), ("a long name", "[red]up")))
NOTHING = Table("networks", "Networks", ("name",), ())
PROBLEMS = tuple(Problem(f"problem {n} {LONG}", f"node{n}", f"advice {n}") for n in range(30))
EVERYTHING = Report(
    "verify",
    "2 of 3 checks failed",
    Exit.VERIFICATION_FAILED,
    changes=CHANGES,
    outcomes=OUTCOMES,
    tables=(MEMBERS, NOTHING),
    warnings=(Problem("two members outlive no loss", "inventory.yml:3", "add a third"),),
    problems=PROBLEMS,
    times=(("facts", 1.26), ("pki", 0.01)),
)


def document(report: Report) -> dict[str, Any]:
    """What --json prints, as a program reads it."""
    read: dict[str, Any] = json.loads(json.dumps(as_document(report)))
    return read


def received(terminal: int) -> str:
    """All that a terminal is sent until its other end is closed, without its colours."""
    sent = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while part := os.read(terminal, 4096):
            sent += part
    return re.sub(r"\x1b\[[0-9;]*m", "", sent.decode()).replace("\r\n", "\n")


def on_a_terminal(report: Report, monkeypatch: pytest.MonkeyPatch, columns: int) -> str:
    """What a real terminal of that width shows."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    reading, writing = os.openpty()
    with ThreadPoolExecutor(1) as beside:
        shown = beside.submit(received, reading)
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            monkeypatch.setattr("sys.stdout", stream)
            show(report)
        text = shown.result()
    os.close(reading)
    return text


def test_programs_get_one_document_with_everything_in_it() -> None:
    read = document(EVERYTHING)
    assert (read["version"], read["verb"], read["exit_code"]) == (1, "verify", 5)
    assert read["summary"] == "2 of 3 checks failed"
    assert [(change["action"], change["restarts"]) for change in read["changes"]] == [
        *(("create", False), ("update", False), ("restart", True)),
    ]
    assert read["changes"][1]["diff"] == DIFF
    assert read["changes"][2]["stops"] == ["web", "db"]
    assert read["outcomes"][1]["evidence"] == OUTCOMES[1].evidence
    assert read["members"] == [{"name": "node1", "state": LONG}, {"name": "a long name", "state": "[red]up"}]
    assert read["networks"] == []
    assert read["warnings"] == [vars(EVERYTHING.warnings[0])]
    assert read["problems"] == [vars(problem) for problem in PROBLEMS]
    assert read["seconds"] == {"facts": 1.26, "pki": 0.01}


def test_a_report_of_nothing_is_a_whole_document() -> None:
    lists: dict[str, list[Any]] = {name: [] for name in ("changes", "outcomes", "ways", "warnings", "problems")}
    expected = {
        "version": 1,
        "verb": "plan",
        "cluster": "",
        "exit_code": 0,
        "summary": "nothing to change",
        "seconds": {},
        "bundle": "",
    }
    assert document(Report("plan", "nothing to change")) == {**expected, **lists}


def test_a_real_plan_is_shown_whole_by_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(PLANE, bare_situation(sample(tmp_path)))
    report = Report("plan", f"{len(plan)} changes pending", Exit.PENDING, changes=plan.changes)
    show(report)
    shown = capsys.readouterr().out
    read = document(report)
    assert len(read["changes"]) == len(plan)
    for change in plan:
        assert f"{change.action} {change.resource}" in shown
        assert all(line in shown.splitlines() for line in (f"      {line}" for line in change.diff.splitlines()))


def test_without_a_terminal_no_line_is_cut_or_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    show(EVERYTHING)
    text, complaints = capsys.readouterr()
    shown = text.splitlines()
    assert complaints == ""
    assert {line.strip() for line in DIFF.splitlines()} <= {line.strip() for line in shown}
    assert [line for line in shown if line.endswith("(waits for the next restart)")] == [
        f"  ~ update file {LONG}  (waits for the next restart)"
    ]
    assert len([line for line in shown if line.split() == ["node1", LONG]]) == 1
    assert [line for line in shown if "second line" in line] == [f"      second line {LONG}"]


def test_without_a_terminal_there_are_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVERYTHING)
    assert "\x1b" not in capsys.readouterr().out


def test_what_looks_like_markup_is_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVERYTHING)
    shown = capsys.readouterr().out
    assert "[bold]not markup[/bold]" in shown
    assert "[red]up" in shown


def test_the_columns_of_a_table_are_one_below_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        Report("status", "up", tables=(Table("t", "Title", ("name", "state"), (("a", "up"), ("a long name", "down"))),))
    )
    rows = [line for line in capsys.readouterr().out.splitlines() if re.search("state|up$|down", line)]
    assert len({row.index(word) for row, word in zip(rows, ("state", "up", "down"), strict=False)}) == 1


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show(Report("status", "up", tables=(NOTHING,)))
    assert "Networks: none\n" in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 200])
def test_on_a_terminal_every_word_is_there_and_no_line_outside_of_tables_is_broken(
    monkeypatch: pytest.MonkeyPatch, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    show(EVERYTHING)
    plain = capsys.readouterr().out
    shown = on_a_terminal(EVERYTHING, monkeypatch, width)
    assert set(plain.split()) == set(shown.split())
    before, _, after = plain.partition(MEMBERS.title)
    assert shown.startswith(before)
    assert shown.endswith(after.partition(f"{NOTHING.title}: none")[2])


def test_every_problem_is_shown_with_its_place_and_advice(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVERYTHING)
    shown = capsys.readouterr().out
    for number, problem in enumerate(PROBLEMS):
        assert f"node{number}: {problem.what}\n" in shown
        assert f"→ advice {number}\n" in shown


def test_a_report_that_is_only_an_error_leaves_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    show(Report("plan", "refused before anything was touched", Exit.REFUSED, problems=PROBLEMS))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("refused before anything was touched\n")
    assert all(problem.what in shown.err for problem in PROBLEMS)


def test_what_failed_comes_with_advice_and_what_passed_without(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVERYTHING)
    shown = capsys.readouterr().out
    assert "→ open port 4789" in shown
    assert "→ chronyc makestep" in shown
    assert "not shown" not in shown


def test_what_a_restart_stops_for_good_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVERYTHING)
    assert "stops for good: web, db\n" in capsys.readouterr().out


def test_the_summary_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVERYTHING)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == "2 of 3 checks failed"
    assert "time: facts 1.3 s" in shown
