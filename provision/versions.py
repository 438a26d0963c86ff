"""Windows of versions: those of a program that work."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Versions that work: from any of `lowest` (each within its own minor) to below `limit`."""

    lowest: tuple[tuple[int, ...], ...]
    limit: tuple[int, ...]

    def holds(self, version: str) -> bool:
        """Say whether a version such as `3.5.30` is inside."""
        numbers = _numbers(version)
        floor = max((low for low in self.lowest if low[:2] <= numbers[:2]), default=None)
        return floor is not None and floor <= numbers < self.limit

    def ends_before(self, version: str) -> bool:
        """Say whether a version is too new."""
        return _numbers(version) >= self.limit

    def __str__(self) -> str:
        """As a person says it."""
        lowest = " or ".join(".".join(map(str, low)) for low in self.lowest)
        return f"{lowest} and later, below {'.'.join(map(str, self.limit))}"


def is_newer(version: str, beginning: str) -> bool:
    """Say whether a version is later than every one that begins with these numbers."""
    numbers = _numbers(beginning)
    return _numbers(version)[: len(numbers)] > numbers


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


def version_of(text: str) -> str:
    """Return the first version number in a program's output; empty if there is none."""
    found = re.search(r"\d+\.\d+\.\d+", text)
    return found[0] if found else ""


def begins(version: str, beginning: str) -> bool:
    """Say whether a version such as `28.5.2` begins with `28.5`, number by number."""
    return f"{version}.".startswith(f"{beginning}.") if beginning else True
