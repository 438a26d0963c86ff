"""Packages of the distribution that no upgrade replaces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from provision.core.resource import Difference, Resource, call
from provision.facts import Facts, Question


def docker_packages(facts: Facts) -> Mapping[str, str]:
    """Return what dpkg is to do with each package of Docker's programs: `install` or `hold`, by the package's name.

    Empty where the programs are from no package that dpkg knows.
    """
    return dict(re.findall(r"Package: (\S+) .*?Status: (\S+)", facts.values.get("docker-packages", "")))


@dataclass(frozen=True)
class HeldPackage(Resource):
    """A package of Docker's programs that no upgrade replaces. `reason`: why, as the plan says it.

    A package that its user holds already is no change, so that a reset leaves it held.
    """

    package: str
    reason: str

    @property
    def name(self) -> str:
        """`package NAME`."""
        return f"package {self.package}"

    def question(self) -> Question:
        """Ask which packages there are, and which are held."""
        return Question(calls=("fact_docker_packages",))

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if the package is not held."""
        held = docker_packages(facts).get(self.package) == "hold"
        return None if held else Difference("hold", note=self.reason)

    def remember(self) -> str:
        """Record that the package was not held."""
        return call("remember_hold", self.package)

    def apply(self, difference: Difference) -> str:
        """Hold the package."""
        return call("select_package", self.package, "hold")
