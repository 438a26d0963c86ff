"""What a verb has to say, as one value; text and json render the same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from provision.checks import Outcome
from provision.errors import Exit, Problem
from provision.plan import Change

#: Of the JSON document; raised when a field changes its meaning.
VERSION = 1


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
    #: The archive of what was found on the nodes; empty where none was written.
    bundle: str = ""

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        return {
            "version": VERSION,
            "verb": self.verb,
            "exit_code": int(self.exit_code),
            "summary": self.summary,
            "changes": [vars(change) | {"restarts": change.restarts} for change in self.changes],
            "outcomes": [vars(outcome) for outcome in self.outcomes],
            **{table.name: [dict(zip(table.columns, row, strict=True)) for row in table.rows] for table in self.tables},
            "warnings": [vars(problem) for problem in self.warnings],
            "problems": [vars(problem) for problem in self.problems],
            "seconds": dict(self.times),
            "bundle": self.bundle,
        }
