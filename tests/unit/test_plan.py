"""A plan as a value: what it shows, whom it interrupts, and in which order."""

from __future__ import annotations

from typing import get_args

import pytest

from provision.core.plan import Action, Change, Plan, diff, joined

FILE = Change("node1", "etcd", "file /etc/a", "update", diff="-a\n+b\n")
RESTART = Change("node1", "docker", "unit docker.service", "restart", note="for a", stops=("web", "db"))
START = Change("node2", "docker", "unit docker.service", "start")
ELSEWHERE = Change("node2", "docker", "unit docker.service", "restart", stops=("web",))


def test_the_order_is_kept() -> None:
    plan = Plan((RESTART, FILE, START))
    assert list(plan) == [RESTART, FILE, START]
    assert len(plan) == 3


def test_an_empty_plan_changes_interrupts_and_stops_nothing() -> None:
    assert (len(Plan()), Plan().restarts, Plan().stopped) == (0, (), ())


def test_a_place_and_a_phase_have_their_own_changes() -> None:
    plan = Plan((FILE, RESTART, START))
    assert plan.of("node1", "docker") == (RESTART,)
    assert plan.of("node2", "docker") == (START,)
    assert plan.of("node2", "etcd") == ()


@pytest.mark.parametrize("action", sorted({*get_args(Action)} - {"restart", "upgrade"}))
def test_nothing_but_a_restart_interrupts(action: Action) -> None:
    assert not Change("node1", "etcd", "it", action).restarts
    assert Plan((FILE, RESTART, START)).restarts == (RESTART,)


def test_what_is_stopped_is_named_with_its_node() -> None:
    assert Plan((FILE, RESTART, ELSEWHERE)).stopped == ("node1: web", "node1: db", "node2: web")


def test_what_two_plans_stop_is_named_once() -> None:
    both = joined([Plan((FILE, ELSEWHERE)), Plan((ELSEWHERE, START))])
    assert list(both) == [FILE, ELSEWHERE, ELSEWHERE, START]
    assert both.stopped == ("node2: web",)


def test_all_that_interrupts_or_needs_a_yes_is_an_interruption() -> None:
    removal = Change("cluster", "leave", "member node3", "remove", consent="remove the member node3")
    assert Plan((FILE, ELSEWHERE, START, removal)).interruptions == (
        "restart unit docker.service on node2",
        "stop the container node2: web for good",
        "remove the member node3",
    )


def test_containers_that_it_starts_are_known_by_name() -> None:
    keeper = Change("node1", "keeper", "container overlay-keeper-demo-node1", "create")
    assert Plan((FILE, RESTART, keeper)).containers == {"overlay-keeper-demo-node1"}


def test_a_change_is_one_line() -> None:
    assert str(RESTART) == "node1: restart unit docker.service  (for a)"
    assert str(START) == "node2: start unit docker.service"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "", ""),
        ("same\n", "same\n", ""),
        ("", "a\n", "--- f\n+++ f (new)\n@@ -0,0 +1 @@\n+a\n"),
        ("a\nb\n", "a\nc\n", "--- f\n+++ f (new)\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"),
    ],
)
def test_a_diff_shows_what_differs_and_nothing_else(before: str, after: str, shown: str) -> None:
    assert diff("f", before, after) == shown


def test_a_diff_of_a_file_without_a_last_newline_keeps_its_lines_apart() -> None:
    assert "-b\n" in diff("f", "a\nb", "a\nc\n").replace("\\ No newline at end of file\n", "")
