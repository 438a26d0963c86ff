"""What a verb has to say, as one value, and what renders it.

text       for people at a terminal
document   for programs: JSON, with a schema
junit      for what collects tests' results
page       for people with a browser: one HTML file; topology is its picture
files      a rendered report into its file
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
    #: What was sent from node to node, and whether it came.
    flows: tuple[Flow, ...] = ()
    #: Of which cluster; None where no inventory was read.
    subject: Cluster | None = None
    #: The archive of what was found on the nodes; empty where none was written.
    bundle: str = ""
