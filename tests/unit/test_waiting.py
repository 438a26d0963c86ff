"""What waits, and what a daemon's silence comes to."""

from __future__ import annotations

import pytest

from provision import waiting
from provision.command_line import _settled
from provision.errors import Exit, Problem, StepFailed, Unanswered
from provision.report import Report

WAITED_FOR = ("every member answers", "cluster", "fab status")


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "time", made)
    return made


def test_what_is_in_trouble_again_has_to_be_well_for_the_whole_time(clock: Clock) -> None:
    def attempt() -> None:
        if clock.now < 4:
            raise Unanswered("node1 does not answer")
        if 7 < clock.now < 8:
            raise StepFailed(Problem("node1 has no quorum"))

    waiting.until(attempt, *WAITED_FOR, steady=5)
    assert 13 <= clock.now < 15


def test_what_succeeds_at_once_is_not_waited_for(clock: Clock) -> None:
    waiting.until(lambda: None, *WAITED_FOR)
    assert clock.now == 0


def test_trouble_that_stays_ends_the_waiting_with_its_words(clock: Clock) -> None:
    def attempt() -> None:
        raise Unanswered("node1 does not answer")

    with pytest.raises(StepFailed, match=r"cluster: waited 6\d s until every member answers: node1 does not answer"):
        waiting.until(attempt, *WAITED_FOR)
    assert 60 <= clock.now < 61


def test_what_takes_longer_is_waited_for_as_long_as_it_is_said(clock: Clock) -> None:
    def attempt() -> None:
        if clock.now < 100:
            raise Unanswered("node1 does not know node2")

    waiting.until(attempt, *WAITED_FOR, seconds=120)
    assert 100 <= clock.now < 101


def test_what_is_never_well_for_long_enough_ends_with_its_last_trouble(clock: Clock) -> None:
    def attempt() -> None:
        if int(clock.now) % 4 == 0:
            raise Unanswered("node1 does not answer")

    with pytest.raises(StepFailed, match="node1 does not answer"):
        waiting.until(attempt, *WAITED_FOR, steady=5)


@pytest.mark.parametrize(("holds_at", "held"), [(0, True), (4.9, True), (7, False)])
def test_a_condition_is_waited_for_as_long_as_was_said(clock: Clock, holds_at: float, *, held: bool) -> None:
    assert waiting.wait_for(lambda: clock.now >= holds_at, 5) is held


def test_a_daemon_that_does_not_answer_ends_in_a_report_and_no_traceback() -> None:
    def call() -> Report:
        raise Unanswered("etcd on node1: etcdserver: unhealthy cluster")

    report = _settled(call, "provision")
    assert (report.exit_code, report.problems[0].what) == (
        Exit.STEP_FAILED,
        "etcd on node1: etcdserver: unhealthy cluster",
    )
    assert "run provision again" in report.problems[0].advice
