"""What would change: a value, made once, shown by `plan` and carried out by `provision`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import chain
from typing import Literal

Action = Literal[
    "create",
    "install",
    "upgrade",
    "hold",
    "update",
    "remove",
    "replace",
    "load",
    "start",
    "restart",
    "enable",
    "add",
    "free",
]

#: Where a change happens that is not on a node.
CONTROLLER = "controller"
CLUSTER = "cluster"


@dataclass(frozen=True)
class Change:
    """One change: where, to what, how. `diff` and `note` say more to a person."""

    where: str
    phase: str
    resource: str
    action: Action
    diff: str = ""
    note: str = ""
    stops: tuple[str, ...] = ()
    #: What a person has to agree to, as it completes "to …"; empty where nobody is asked.
    consent: str = ""

    @property
    def restarts(self) -> bool:
        """Whether something that runs now is interrupted."""
        return self.action in ("restart", "upgrade")

    def __str__(self) -> str:
        """One line, the same in the plan and when it was done."""
        note = f"  ({self.note})" if self.note else ""
        return f"{self.where}: {self.action} {self.resource}{note}"


@dataclass(frozen=True)
class Plan:
    """Every change, in the order it is made."""

    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        """Walk the changes in order."""
        return iter(self.changes)

    def __len__(self) -> int:
        """Count the changes."""
        return len(self.changes)

    def of(self, where: str, phase: str) -> tuple[Change, ...]:
        """Return the changes of one place in one phase."""
        return tuple(change for change in self.changes if (change.where, change.phase) == (where, phase))

    @property
    def restarts(self) -> tuple[Change, ...]:
        """The changes that interrupt something that runs now."""
        return tuple(change for change in self.changes if change.restarts)

    @property
    def containers(self) -> frozenset[str]:
        """The names of the containers that it starts."""
        resources = (change.resource.partition(" ") for change in self.changes if change.action != "remove")
        return frozenset(name for kind, _, name in resources if kind == "container")

    @property
    def consents(self) -> tuple[str, ...]:
        """What a person has to agree to."""
        return tuple(change.consent for change in self.changes if change.consent)

    @property
    def stopped(self) -> tuple[str, ...]:
        """Running containers that a restart stops and that nothing starts again, as `node: name`."""
        return tuple(dict.fromkeys(f"{change.where}: {name}" for change in self.changes for name in change.stops))

    @property
    def interruptions(self) -> tuple[str, ...]:
        """All that a person has to know of before it is done, each as it completes "to …"."""
        restarts = (f"{change.action} {change.resource} on {change.where}" for change in self.restarts)
        return (*restarts, *(f"stop the container {name} for good" for name in self.stopped), *self.consents)


def joined(plans: Iterable[Plan]) -> Plan:
    """Return the changes of all, one plan's after another's."""
    return Plan(tuple(chain.from_iterable(plans)))


def diff(path: str, before: str, after: str) -> str:
    """Return the unified diff of a text file, empty where nothing differs."""
    lines = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), path, f"{path} (new)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
