"""What the controller aims at, beside the inventory: it keeps nothing for a swarm."""

from __future__ import annotations

from dataclasses import dataclass

from provision.core.situation import Situation


@dataclass(frozen=True)
class Local:
    """The aim of a run. `replaced`: the certificate of the authority that a rotation takes away; empty without one."""

    replaced: str = ""


def local(situation: Situation) -> Local:
    """Return this plane's part of a situation."""
    return situation.local if isinstance(situation.local, Local) else Local()
