"""The cluster store while it is recovered."""

from __future__ import annotations

from provision.core.recovery import Recovery
from provision.core.situation import Situation
from provision.errors import Problem
from provision.planes.etcd.phases import recovery
from provision.planes.etcd.plane import EtcdPlane


class RecoveringPlane(EtcdPlane):
    """The phases that lead out of the loss of a quorum."""

    def __init__(self, decided: Recovery) -> None:
        """Take what was decided."""
        self.phases = recovery.phases(decided)

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Return nothing: that the store has no quorum is what is mended."""
        return ()
