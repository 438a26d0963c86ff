"""Another version of Docker where there is one."""

from __future__ import annotations

from dataclasses import dataclass

from provision import layout
from provision.core.resource import UPLOADS, Difference, Resource, Upload, call
from provision.facts import Facts, Question
from provision.facts.installed import installed
from provision.inventory.model import Archive
from provision.node import functions
from provision.resources.packages import SPACES
from provision.resources.system import stopped_a_while, stopped_for_good
from provision.versions import begins, version_of

#: How long dockerd is away: 14 to 20 s on lab hosts, 10 of them for containers that ignore SIGTERM.
SECONDS_AWAY = "10 to 30 s"
#: Seconds that packages may take to be downloaded and unpacked.
INSTALL_SECONDS = 900


@dataclass(frozen=True)
class Upgrade(Resource):
    """Docker of this version, or of one that begins with it: from a package, or a static release.

    `costs`: what it means for the cluster that a node's dockerd is away.
    """

    package: str
    version: str
    archive: Archive | None = None
    costs: str = ""
    stops_containers: bool = True

    @property
    def name(self) -> str:
        """`Docker`."""
        return "Docker"

    def question(self) -> Question:
        """Ask for the package, what apt offers, and the room."""
        ask = call("fact_docker_package", self.package)
        return Question(functions=(functions("upgrade_facts"),), calls=(ask,), spaces=SPACES)

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if Docker is older, its package is not wholly installed, or its old process runs."""
        there = installed(facts)
        unfinished = begins(there.version, self.version) and (there.stale or not there.whole)
        if not there.version or not (there.is_older(self.version) or unfinished):
            return None
        new = self.version if self.archive else version_of(there.best(self.version)) or self.version
        what = f"{there.version}, which was not completed" if unfinished else f"{there.version} → {new}"
        notes = (what, self.costs, stopped_a_while(facts, SECONDS_AWAY))
        return Difference("upgrade", note="; ".join(filter(None, notes)), stops=stopped_for_good(facts))

    def upload(self) -> Upload | None:
        """Return the archive, if there is one."""
        return Upload(self.archive.path, f"{UPLOADS}/docker.tgz") if self.archive else None

    def remember(self) -> str:
        """Record whether dockerd runs: an upgrade that is killed may leave it stopped."""
        return call("remember_unit", layout.DOCKER_UNIT)

    def apply(self, difference: Difference) -> str:
        """Install the package that the node's apt offers, or the programs of the release; or complete what is begun."""
        parts = "\n".join(map(functions, ("packages", "upgrade_facts", "upgrade")))
        upload = self.upload()
        if self.archive and upload:
            return f"{parts}\n{call('upgrade_static', upload.path, self.archive.sha256, self.version)}"
        return f"{parts}\n{call('upgrade_package', self.package, self.version, str(INSTALL_SECONDS))}"
