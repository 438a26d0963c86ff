"""The cluster store while it is recovered."""

from __future__ import annotations

from provision.core.recovery import Recovery
from provision.core.situation import Situation
from provision.errors import Problem
from provision.planes.etcd import paths, pki, validity
from provision.planes.etcd.local import local
from provision.planes.etcd.phases import recovery
from provision.planes.etcd.plane import EtcdPlane


class RecoveringPlane(EtcdPlane):
    """The phases that lead out of the loss of a quorum."""

    def __init__(self, decided: Recovery) -> None:
        """Take what was decided."""
        self.phases = recovery.phases(decided)
        self.copied_data = f"{paths.DATA}/{recovery.copy_of(decided)}"

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say that the controller lacks the authorities. That the store has no quorum is what is mended."""
        return validity.without_authorities(situation)

    def warnings(self, situation: Situation) -> tuple[Problem, ...]:
        """Say that a rotation of the authorities, in a later step, keeps lost hosts from being shut out.

        They may hold leaves of the old authority and of the new one. Those that another rotation follows are refused.
        """
        step = local(situation).identity.step
        if step is None or pki.can_shut_out(situation.cluster):
            return ()
        what = (
            f"a rotation of the authorities is at step {step.number} of {len(pki.Step)}: the store still accepts "
            "certificates of the lost hosts, and lets in Docker on one that comes back"
        )
        advice = (
            "keep them off; when fab provision has passed, run fab certs --rotate --authority twice: it ends this "
            "rotation, and then makes another one, after which the store refuses those certificates"
        )
        return (Problem(what, "cluster", advice),)
