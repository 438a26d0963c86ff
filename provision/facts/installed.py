"""Docker's programs on a node: whose they are, and what a package source offers in their place. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from provision.facts.model import Facts
from provision.versions import begins, is_newer, version_of

#: The name of the answer of `fact_docker_package` (node/upgrade_facts.sh).
ANSWER = "docker-package"


@dataclass(frozen=True)
class Installed:
    """dockerd's version, its package, and the versions of the package that apt knows, the latest first."""

    #: As dockerd prints it; empty if there is none.
    version: str = ""
    #: The package of dockerd's file; empty if it is of none.
    package: str = ""
    #: Whether the package is wholly installed: dpkg may have been interrupted.
    whole: bool = True
    #: Whether dockerd runs from a file that was replaced since its start.
    stale: bool = False
    #: `ours`, `user`, or empty: who has forbidden apt to change the package.
    held: str = ""
    offered: tuple[str, ...] = field(default=())

    def best(self, wanted: str) -> str:
        """Return the latest offered version of the package whose Docker begins with these numbers; empty if none."""
        return next((one for one in self.offered if begins(version_of(one), wanted)), "")

    def is_older(self, wanted: str) -> bool:
        """Say whether Docker is here and older than each version that begins with these numbers."""
        return bool(self.version) and not begins(self.version, wanted) and not is_newer(self.version, wanted)


def installed(facts: Facts) -> Installed:
    """Return what a node has told of its Docker."""
    told: dict[str, list[str]] = {}
    for line in facts.answers.get(ANSWER, "").splitlines():
        key, _, value = line.partition(" ")
        told.setdefault(key, []).append(value)

    def first(key: str) -> str:
        return next(iter(told.get(key, ())), "")

    return Installed(
        version=version_of(facts.values.get("dockerd", "")),
        package=first("package"),
        whole=_is_whole(told.get("status", ())),
        stale=first("stale") == "yes",
        held=first("held"),
        offered=tuple(told.get("offered", ())),
    )


def _is_whole(states: Iterable[str]) -> bool:
    return all(state.endswith(" ok installed") for state in states)
