"""Another version of Docker's package."""

from __future__ import annotations

from dataclasses import dataclass

from provision.core.resource import Difference, Resource, call
from provision.facts import Facts, Question
from provision.facts.installed import installed
from provision.node import part
from provision.resources.system import stopped_a_while, stopped_for_good
from provision.versions import begins, version_of

#: How long dockerd is away. 14 to 20 s on lab hosts, 10 of them for containers that ignore SIGTERM.
SECONDS_AWAY = "10 to 30 s"
#: Seconds that packages may take to be downloaded and unpacked, and dockerd to start.
LIMIT = 280


@dataclass(frozen=True)
class Upgrade(Resource):
    """A package with Docker of this version, or of one that begins with it. Only an older one is upgraded.

    `costs`: what it means for the cluster that a node's dockerd is away.
    """

    package: str
    version: str
    costs: str = ""
    stops_containers: bool = True

    @property
    def name(self) -> str:
        """`Docker`."""
        return "Docker"

    def question(self) -> Question:
        """Ask for the package, and what apt offers."""
        return Question(functions=(part("upgrade_facts"),), calls=(call("fact_docker_package", self.package),))

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if Docker is older, its package is not wholly installed, or its old process runs."""
        there = installed(facts)
        unfinished = begins(there.version, self.version) and (there.stale or not there.whole)
        if not there.is_older(self.version) and not unfinished:
            return None
        what = (
            f"{there.version}, finished"
            if unfinished
            else f"{there.version} → {version_of(there.best(self.version)) or self.version}"
        )
        notes = (what, self.costs, stopped_a_while(facts, SECONDS_AWAY))
        return Difference("upgrade", note="; ".join(filter(None, notes)), stops=stopped_for_good(facts))

    def apply(self, difference: Difference) -> str:
        """Install the package that the node's apt offers."""
        functions = f"{part('upgrade_facts')}\n{part('upgrade')}"
        return f"{functions}\n{call('upgrade_docker', self.package, self.version, str(LIMIT))}"
