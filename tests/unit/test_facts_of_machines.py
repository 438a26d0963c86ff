"""What a node answers of its clock and its disks, as values."""

from __future__ import annotations

import pytest

from provision.facts import Clock, Facts, Question, Space, parse, script, with_clock


def told(began: str, ended: str) -> Facts:
    return parse(f"value\tclock-began\t{began}\nvalue\tclock-ended\t{ended}\n")


@pytest.mark.parametrize(
    ("began", "ended", "clock"),
    [
        # Asked at 1000.0, answered at 1002.0; what lies between was the script's own time, but for half a second.
        ("1000.250000000", "1001.750000000", Clock(-0.25, 0.25)),
        ("1010.250000000", "1011.750000000", Clock(9.75, 10.25)),
        # A `date` without nanoseconds: a second more is uncertain.
        ("1000", "1001", Clock(-1.0, 1.0)),
        ("1000.N", "1001.%N", Clock(-1.0, 1.0)),
    ],
)
def test_48_a_clock_lies_between_what_the_way_there_and_back_allows(began: str, ended: str, clock: Clock) -> None:
    assert with_clock(told(began, ended), 1000.0, 1002.0).clock == clock


@pytest.mark.parametrize(("began", "ended"), [("", "1001.5"), ("date: no such file", "1001.5"), ("1000.5", "")])
def test_48_a_node_that_does_not_tell_its_time_has_no_clock(began: str, ended: str) -> None:
    assert with_clock(told(began, ended), 1000.0, 1002.0).clock is None


def test_48_the_time_is_told_first_and_last() -> None:
    asked = [line for line in script(Question(units=("etcd.service",))).splitlines() if line.startswith("fact ")]
    assert asked[0].startswith("fact value clock-began ")
    assert script(Question()).splitlines()[-1].startswith("fact value clock-ended ")


def test_49_a_disk_is_where_it_is_mounted_what_is_free_and_how_it_is_mounted() -> None:
    found = parse("space\t/var/lib/docker\t/var/lib/my\\x20disk 82956812288 rw,relatime,discard\n").spaces
    options = frozenset({"rw", "relatime", "discard"})
    assert found == {"/var/lib/docker": Space("/var/lib/my\\x20disk", 82956812288, options)}


@pytest.mark.parametrize("answer", ["", "/", "/ rw", "/proc - rw", "/ 1 2 rw"])
def test_49_a_disk_that_does_not_tell_is_none(answer: str) -> None:
    assert parse(f"space\t/etc\t{answer}\n").spaces == {}
