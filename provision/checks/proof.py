"""The subject of a check of `verify`: the cluster, its coordinator, and the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from provision.core.plane import Coordinator
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
    `gone`: which of its rules for packets a node's Docker has lost, by node; see resources/packet_rules.py.
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
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shared: dict[str, Shared] = field(default_factory=dict, compare=False)
    claimed: dict[tuple[str, str], str] = field(default_factory=dict, compare=False)
