"""What waits, and what a daemon's silence comes to."""

from __future__ import annotations

import pytest

from provision import waiting
from provision.command_line import _settled
from provision.errors import Exit, StepFailed, Unanswered
from provision.report import Report


def test_what_is_in_trouble_again_has_to_be_well_for_the_whole_time() -> None:
    words = iter(["node1 does not answer", "", "node1 does not answer", ""])
    asked: list[str] = []

    def trouble() -> str:
        asked.append(next(words, ""))
        return asked[-1]

    waiting.until_steady(trouble, 0.6, "before node2 joins", "cluster", "fab status")
    assert asked[:4] == ["node1 does not answer", "", "node1 does not answer", ""]


def test_trouble_that_stays_ends_the_waiting_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "QUORUM_SECONDS", 0.1)
    with pytest.raises(StepFailed, match="before node2 joins: node1 does not answer"):
        waiting.until_steady(lambda: "node1 does not answer", 5, "before node2 joins", "cluster", "fab status")


def test_a_daemon_that_does_not_answer_ends_in_a_report_and_no_traceback() -> None:
    def call() -> Report:
        raise Unanswered("etcd on node1: etcdserver: unhealthy cluster")

    report = _settled(call, "provision")
    assert (report.exit_code, report.problems[0].what) == (
        Exit.STEP_FAILED,
        "etcd on node1: etcdserver: unhealthy cluster",
    )
    assert "run provision again" in report.problems[0].advice
