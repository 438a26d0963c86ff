"""What a check saw, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from provision.core.reach import Flow
from provision.errors import Problem

Status = Literal["passed", "failed", "warning"]


@dataclass(frozen=True)
class Outcome:
    """What one check saw in one place."""

    check: str
    where: str
    status: Status
    evidence: str
    advice: str = ""
    seconds: float = 0.0
    #: The packets that it is about, where they went from one node to another.
    flow: Flow | None = None
    #: What the check is for: the first line of its docstring.
    about: str = ""

    @property
    def problem(self) -> Problem:
        """The outcome as an error carries it."""
        return Problem(self.evidence, where=f"{self.where} [{self.check}]", advice=self.advice)


def failures(outcomes: tuple[Outcome, ...]) -> Iterator[Outcome]:
    """Walk those that failed."""
    return (outcome for outcome in outcomes if outcome.status == "failed")


def flows(outcomes: tuple[Outcome, ...]) -> tuple[Flow, ...]:
    """Return what was sent from node to node."""
    return tuple(outcome.flow for outcome in outcomes if outcome.flow)


def passed(where: str | Flow, evidence: str) -> Outcome:
    """Return an outcome that says what was seen."""
    return Outcome("", str(where), "passed", evidence, flow=where if isinstance(where, Flow) else None)


def failed(where: str | Flow, evidence: str, advice: str = "") -> Outcome:
    """Return an outcome that says what was seen instead."""
    flow = replace(where, came=False) if isinstance(where, Flow) else None
    return Outcome("", str(where), "failed", evidence, advice, flow=flow)


def not_tried(where: str, why: str, advice: str) -> Outcome:
    """Return an outcome that says why there was nothing to see."""
    return Outcome("", where, "warning", f"not tried: {why}", advice)
