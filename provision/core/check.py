"""A check: one small function that says what it saw, or what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from provision.core.outcome import Outcome
from provision.errors import Problem, UsageError

#: The suite of the checks that are made before anything is touched.
PREFLIGHT = "preflight"

#: From what a check looks at (a NodeView in preflight, a Proof elsewhere) to what it saw.
Observe = Callable[[Any], Iterator[Outcome]]


@dataclass(frozen=True)
class Check:
    """One check of a suite. `quick` ones are made after every provision, the others by `verify` alone.

    `needs`: checks, as `suite/name`, without which this one proves nothing, and would wait long to say so.
    """

    suite: str
    name: str
    observe: Observe
    quick: bool = False
    needs: tuple[str, ...] = ()

    def __call__(self, subject: Any) -> Iterator[Outcome]:
        """Look, and say what was seen."""
        return self.observe(subject)

    @property
    def about(self) -> str:
        """What is checked and why it matters: the first line of the function's docstring."""
        return (self.observe.__doc__ or "").partition("\n")[0]

    def __str__(self) -> str:
        """Return what --only and --skip match: `overlay/tcp-and-udp`."""
        return f"{self.suite}/{self.name}"


def check(suite: str, *, quick: bool = False, needs: Sequence[str] = ()) -> Callable[[Observe], Check]:
    """Make a check of a function: of that suite, under the function's name."""

    def made(function: Observe) -> Check:
        return Check(suite, function.__name__.replace("_", "-"), function, quick, tuple(needs))

    return made


def collect(*modules: ModuleType) -> tuple[Check, ...]:
    """Return the checks of modules, in the order in which they are written."""
    return tuple(thing for module in modules for thing in vars(module).values() if isinstance(thing, Check))


def named(checks: Sequence[Check], names: Collection[str], flag: str) -> frozenset[str]:
    """Return the names if there is such a check for each. UsageError with the names there are."""
    known = [check.name for check in checks]
    problems = []
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]}? " if near else ""
            what = f"{flag} {name}: there is no such check"
            problems.append(Problem(what, advice=f"{advice}there are: {', '.join(known)}"))
    if problems:
        raise UsageError(*problems)
    return frozenset(names)


def matching(checks: Sequence[Check], only: str, skip: str) -> list[Check]:
    """Return the checks whose `suite/name` the one expression finds and the other does not; empty ones match all.

    UsageError where an expression is no regular expression, or no check is left.
    """
    try:
        wanted, unwanted = re.compile(only or ""), re.compile(skip or r"(?!)")
    except re.error as error:
        raise UsageError(Problem(f"{error.pattern!r} is no regular expression: {error}", "--only, --skip")) from None
    chosen = [check for check in checks if wanted.search(str(check)) and not unwanted.search(str(check))]
    if not chosen:
        names = ", ".join(map(str, checks))
        raise UsageError(Problem("no check is left", "--only, --skip", f"there are: {names}"))
    return chosen
