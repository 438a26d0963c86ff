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

from provision.checks import Outcome, Way
from provision.errors import Exit, Problem
from provision.plan import Change

if TYPE_CHECKING:
    from provision.inventory.model import Cluster


@dataclass(frozen=True)
class Table:
    """Rows under a title. `name` is its key in JSON; the columns are the keys of each row."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    ways: tuple[Way, ...] = ()
    #: Of which cluster; None where no inventory was read.
    subject: Cluster | None = None
    #: The archive of what was found on the nodes; empty where none was written.
    bundle: str = ""
