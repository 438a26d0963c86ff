"""Every error that ends a run, and its exit code.

ProvisionError
├── UsageError             2   the command line, or a file it names
│   └── InventoryError     2   inventory.yml: every mistake, each with file and line
├── PreflightRefused       3   an obstacle found before anything was touched
│   ├── ConnectionFailed   3   a node cannot be reached, trusted or authenticated to
│   │   └── HostSilent     3   nothing answers at its address and port
│   ├── ConsentMissing     3   a change that needs a confirmation, and nobody who gives it
│   └── BackupError        3   a backup that is damaged, or another cluster's, or of another format
├── StepFailed             4   a step failed on a node
└── LockHeld               6   another run is changing these nodes

Exit code 7 (changes pending) and 130 (interrupted) are outcomes, not errors; 1 is Fabric's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """The exit code of the process."""

    DONE = 0
    USAGE = 2
    REFUSED = 3
    STEP_FAILED = 4
    VERIFICATION_FAILED = 5
    LOCKED = 6
    PENDING = 7
    INTERRUPTED = 130


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what, where it was seen, and what to do next."""

    what: str
    where: str = ""
    advice: str = ""

    def __str__(self) -> str:
        """One or two lines: `where: what`, then the advice."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n    → {self.advice}" if self.advice else head


class ProvisionError(Exception):
    """An error a person can act on. It holds one or more problems and an exit code."""

    exit_code = Exit.STEP_FAILED
    title = "failed"

    def __init__(self, *problems: Problem) -> None:
        """Take every problem found, in the order a person should read them."""
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        """Every problem, each on its own lines."""
        return "\n".join(str(problem) for problem in self.problems)


class UsageError(ProvisionError):
    """The command line, or a file that it names, is wrong."""

    exit_code = Exit.USAGE
    title = "cannot start"


class InventoryError(UsageError):
    """The inventory has mistakes. `problems` holds all of them."""

    title = "inventory refused"


class PreflightRefused(ProvisionError):
    """An obstacle was found before anything was touched."""

    exit_code = Exit.REFUSED
    title = "refused before anything was touched"


class ConnectionFailed(PreflightRefused):
    """A node cannot be reached, its host key is not trusted, or the login was refused."""


class HostSilent(ConnectionFailed):
    """Nothing answers at a node's address and port."""


class ConsentMissing(PreflightRefused):
    """A change needs a confirmation, and there is no terminal to ask on, or the answer was no."""

    title = "refused: a yes is missing"


class BackupError(PreflightRefused):
    """A backup cannot be restored: it is damaged, another cluster's, or of another format."""


class StepFailed(ProvisionError):
    """A step failed on a node."""

    title = "a step failed"


class LockHeld(ProvisionError):
    """Another run holds the lock of a node."""

    exit_code = Exit.LOCKED
    title = "another run is at work"


class Unanswered(Exception):
    """A daemon did not answer, or refused the request. Caught where the program waits for an answer."""
