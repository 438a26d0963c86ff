"""What a check of the proof works with, and how it says what it saw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from provision.core.plane import Coordinator
from provision.errors import StepFailed, Unanswered
from provision.facts import Marked
from provision.inventory.model import Cluster


class Shared(Protocol):
    """What several checks of a suite use."""

    def close(self) -> None:
        """Take it away."""


@dataclass(frozen=True)
class Proof:
    """What a check works with. `run` marks everything it makes; what another of the `living` marked is not touched.

    `left`: what runs marked that live no more, by node.
    `started`: containers of the inventory's networks that this run itself has started, which prove as much as a probe.
    What the checks of a suite share is made by the first that needs it, and closed after the last.
    """

    cluster: Cluster
    coordinator: Coordinator
    run: str
    living: frozenset[str] = frozenset()
    left: Mapping[str, Sequence[Marked]] = field(default_factory=dict)
    started: frozenset[str] = frozenset()
    shared: dict[str, Shared] = field(default_factory=dict, compare=False)


def reason(error: Exception) -> str:
    """Say on one line what a daemon, its client or the way to it said no with."""
    if isinstance(error, Unanswered | StepFailed):
        return str(error)
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text}"[:400]
