"""What `verify` says of a plan."""

from __future__ import annotations

import pytest

from provision.core.plan import Change, Plan
from provision.verbs.verify import as_planned


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1, "1 change pending: node1: create file 1"),
        (3, "3 changes pending: node1: create file 1; node1: create file 2; node1: create file 3"),
        (5, "5 changes pending: node1: create file 1; node1: create file 2; node1: create file 3; and 2 more"),
    ],
)
def test_the_first_pending_changes_are_named(count: int, told: str) -> None:
    plan = Plan(tuple(Change("node1", "host", f"file {number}", "create") for number in range(1, count + 1)))
    outcome = as_planned(plan)
    assert (outcome.status, outcome.evidence) == ("failed", told)


def test_an_empty_plan_passes() -> None:
    assert as_planned(Plan()).status == "passed"
