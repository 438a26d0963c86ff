"""Swarm mode with the phases that set a swarm up from a backup."""

from __future__ import annotations

from datetime import UTC, datetime

from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem
from provision.phases.firewall import Firewall
from provision.phases.installation import Installation
from provision.planes.swarm.phases.docker import Docker
from provision.planes.swarm.phases.host import Host
from provision.planes.swarm.phases.restored import Restored
from provision.planes.swarm.plane import SwarmPlane
from provision.planes.swarm.saving import read


class RestoringPlane(SwarmPlane):
    """The first stage of a restore: the saved swarm is at work on one node. The rest is as in any `provision`."""

    def __init__(self, saved: Saved) -> None:
        """Take what was saved. PreflightRefused if it is not whole."""
        try:
            self._manager = read(saved.files)
        except ValueError as error:
            what = f"the backup has no whole copy of a swarm's manager: {error}"
            raise PreflightRefused(Problem(what, "backup", "take another backup")) from error
        hosts = (phase for phase in SwarmPlane.phases if isinstance(phase, (Installation, Host, Firewall, Docker)))
        self.phases = (*hosts, Restored(saved, self._manager))

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say why Docker would not take up the saved swarm."""
        return tuple(filter(None, (self._ended(datetime.now(UTC)), self._another_port(situation))))

    def _ended(self, now: datetime) -> Problem | None:
        end = self._manager.end
        if end > now:
            return None
        what = (
            f"the certificate of the saved manager has ended on {end:%Y-%m-%d %H:%M} UTC: Docker does not start with it"
        )
        advice = (
            "take a later backup. Without one: fab provision makes a new swarm, and networks of the same names and "
            "subnets if the inventory has them"
        )
        return Problem(what, "backup", advice)

    def _another_port(self, situation: Situation) -> Problem | None:
        there, wanted = self._manager.port, situation.cluster.vxlan_port
        if there in (None, wanted):
            return None
        what = f"overlay.vxlan_port is {wanted}, but the saved swarm was made with {there}, and Docker cannot change it"
        return Problem(what, "cluster", f"write `vxlan_port: {there}`")
