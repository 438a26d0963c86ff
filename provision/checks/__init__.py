"""Checks: one small function each, found by its decorator. A check says what it saw, or what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from provision.errors import Problem

Status = Literal["passed", "failed", "warning"]


@dataclass(frozen=True)
class Way:
    """From one node to another: what was sent, whether it came, after how many milliseconds, where that is known."""

    source: str
    target: str
    what: str
    milliseconds: float | None = None
    came: bool = True

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.source} → {self.target}"


@dataclass(frozen=True)
class Outcome:
    """What one check saw in one place."""

    check: str
    where: str
    status: Status
    evidence: str
    advice: str = ""
    seconds: float = 0.0
    #: Where it is about what went from one node to another.
    way: Way | None = None

    @property
    def problem(self) -> Problem:
        """The outcome as an error carries it."""
        return Problem(self.evidence, where=f"{self.where} [{self.check}]", advice=self.advice)


def failed(outcomes: tuple[Outcome, ...]) -> Iterator[Outcome]:
    """Walk the failed ones."""
    return (outcome for outcome in outcomes if outcome.status == "failed")


def ways(outcomes: tuple[Outcome, ...]) -> tuple[Way, ...]:
    """Return what was sent from node to node."""
    return tuple(outcome.way for outcome in outcomes if outcome.way)
