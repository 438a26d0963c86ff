"""Docker's programs on a node: packages that apt installs, or a static release; and Docker's first start."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from provision import layout
from provision.core.resource import UPLOADS, Difference, Resource, Upload, call
from provision.facts import Facts, Question
from provision.node import functions

#: Where a static release's programs go.
PROGRAMS = "/usr/local/bin"
#: Folders that an installation writes to: apt's packages, and the programs.
SPACES = ("/var/cache/apt", "/usr", PROGRAMS)

#: Where Docker comes from, as the record on the node has it.
Origin = Literal["package", "archive"]


@dataclass(frozen=True)
class Offer:
    """What apt could install on a node. `candidates`: the version of each package that it would choose.

    `versions`: every version of each package, the newest first. `complaint`: why apt has no lists of packages.
    """

    has_apt: bool = False
    candidates: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    complaint: str = ""

    @classmethod
    def of(cls, facts: Facts) -> Offer:
        """Return it from the answer of `fact_packages`, which is asked only where there is no Docker."""
        candidates: dict[str, str] = {}
        versions: dict[str, tuple[str, ...]] = {}
        complaint = ""
        rows = [line.split(" ", 2) for line in facts.answers.get("packages", "").splitlines()]
        for name, kind, value in (row for row in rows if len(row) == 3):
            if kind == "candidate":
                candidates[name] = value
            elif kind == "version":
                versions[name] = (*versions.get(name, ()), value)
            elif kind == "complaint":
                complaint = value.strip()
        return cls(bool(rows), candidates, versions, complaint)


@dataclass(frozen=True)
class Packages(Resource):
    """Packages that apt installs where there is no Docker: by their names, or as NAME=VERSION.

    The first gives the resource its name. `note`: their versions, as a plan says it.
    """

    packages: tuple[str, ...]
    note: str = ""
    origin: Origin = "package"

    @property
    def name(self) -> str:
        """`package NAME`."""
        return f"package {self.packages[0].partition('=')[0]}"

    def question(self) -> Question:
        """Ask what apt could install, and for the room."""
        names = (package.partition("=")[0] for package in self.packages)
        return Question(functions=(functions("packages"),), calls=(call("fact_packages", *names),), spaces=SPACES)

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if there is no Docker, or an incomplete one."""
        return None if facts.values.get("dockerd") else Difference("install", note=self.note)

    def remember(self) -> str:
        """Record that Docker is ours. Which packages are added, apt says when it installs them."""
        return _begin(self.origin)

    def apply(self, difference: Difference) -> str:
        """Install them, and what they need."""
        return call("install_packages", *self.packages)


@dataclass(frozen=True)
class StaticDocker(Resource):
    """The programs of a static release, where there is no Docker."""

    archive: pathlib.Path
    sha256: str
    version: str

    @property
    def name(self) -> str:
        """`release docker VERSION`."""
        return f"release docker {self.version}"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if there is no Docker, or an incomplete one."""
        return None if facts.values.get("dockerd") else Difference("install", note=f"in {PROGRAMS}")

    def remember(self) -> str:
        """Record that Docker is ours. Each program's path is recorded when the archive is unpacked."""
        return _begin("archive")

    def upload(self) -> Upload:
        """Return the archive."""
        return Upload(self.archive, f"{UPLOADS}/docker.tgz")

    def apply(self, difference: Difference) -> str:
        """Check the archive, unpack it, run its dockerd once for its version, and rename each program."""
        return call("put_docker", self.upload().path, self.sha256, self.version)


@dataclass(frozen=True)
class FirstStart(Resource):
    """The first start of a Docker that was just installed: it completes the installation."""

    @property
    def name(self) -> str:
        """`unit docker.service`."""
        return f"unit {layout.DOCKER_UNIT}"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if there is no Docker, or an incomplete one."""
        return None if facts.values.get("dockerd") else Difference("start", note="for the first time")

    def apply(self, difference: Difference) -> str:
        """Start it, and note that Docker is complete."""
        return call("end_installing")


def _begin(origin: Origin) -> str:
    return f"{functions('packages')}\n{call('begin_installing', origin)}"
