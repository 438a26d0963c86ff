"""The subject of a check of `verify`: the cluster, its coordinator, and the run."""

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
    """Something that several checks of a suite use, such as a pool of probes."""

    def close(self) -> None:
        """Remove it from the nodes."""


@dataclass(frozen=True)
class Proof:
    """The subject of a check.

    `run`: this run's ID, the label of everything that a check creates. `living`: IDs of other runs that are at work;
    their things are not touched.
    `left`: what runs that have ended left behind, by node.
    `started`: keepers that this run has started; they prove as much as a probe.
    `shared`: what the checks of a suite share. The first check that needs it creates it; it is closed after the last.
    `claimed`: the name of the probe, by network and address. All suites share this, because they run in parallel.
    """

    cluster: Cluster
    coordinator: Coordinator
    run: str
    living: frozenset[str] = frozenset()
    left: Mapping[str, Sequence[Marked]] = field(default_factory=dict)
    started: frozenset[str] = frozenset()
    shared: dict[str, Shared] = field(default_factory=dict, compare=False)
    claimed: dict[tuple[str, str], str] = field(default_factory=dict, compare=False)


def reason(error: Exception) -> str:
    """Return the message of an error from a daemon, its client or the connection, on one line."""
    if isinstance(error, Unanswered | StepFailed):
        return str(error)
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text}"[:400]
