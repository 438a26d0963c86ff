"""The result of a verb as one value, and the modules that render it.

text       for a terminal
document   for programs: JSON, with a schema
junit      for tools that read test results: JUnit XML
page       for a browser: one HTML file; topology is its picture
files      write a rendered report to its file
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.core.outcome import Outcome
from provision.core.plan import Change
from provision.core.reach import Flow
from provision.core.table import Table
from provision.errors import Exit, Problem

if TYPE_CHECKING:
    from provision.inventory.model import Cluster


@dataclass(frozen=True)
class Report:
    """One verb's result. `summary` is the one line that a person reads first."""

    verb: str
    summary: str
    exit_code: Exit = Exit.DONE
    changes: tuple[Change, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    times: tuple[tuple[str, float], ...] = ()
    #: What was sent from node to node, and whether it arrived.
    flows: tuple[Flow, ...] = ()
    #: The cluster of the inventory; None if no inventory was read.
    subject: Cluster | None = None
    #: The path of the bundle; empty if none was written.
    bundle: str = ""
