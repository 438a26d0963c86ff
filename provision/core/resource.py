"""What every resource is: something that asks about itself, compares, and changes."""

from __future__ import annotations

import pathlib
import shlex
from dataclasses import dataclass
from typing import Protocol

from provision.core.plan import Action
from provision.facts import Facts, Question

#: Where uploads wait on a node until they are used: on the disk, not in /tmp, root only.
UPLOADS = "/var/lib/overlay-provision"


@dataclass(frozen=True)
class Difference:
    """How a resource differs from what it should be."""

    action: Action
    diff: str = ""
    note: str = ""
    stops: tuple[str, ...] = ()
    #: What a person has to agree to.
    consent: str = ""
    #: The action on what a stage before has made already, where it is another one.
    again: Action | None = None


@dataclass(frozen=True)
class Upload:
    """A file of the controller that a change needs on the node first."""

    source: pathlib.Path
    path: str


class Resource(Protocol):
    """Something that a node should hold."""

    @property
    def name(self) -> str:
        """What the plan calls it."""

    def question(self) -> Question:
        """What to ask the node about it, beside what every node is asked."""
        return Question()

    def compare(self, facts: Facts) -> Difference | None:
        """Say how it differs, None where it does not."""

    def remember(self) -> str:
        """Return sh that records what was there before our first change, if anything has to be recorded."""
        return ""

    def apply(self, difference: Difference) -> str:
        """Return sh that makes it so."""

    def upload(self) -> Upload | None:
        """Return what has to be on the node before `apply`, if anything."""
        return None


@dataclass(frozen=True)
class OfPath(Resource):
    """Something at a path, which is remembered."""

    path: str

    def remember(self) -> str:
        """Remember the path."""
        return call("remember_path", self.path)


def call(*words: str) -> str:
    """Return a call of one of node/changes.sh's functions, quoted."""
    return " ".join(shlex.quote(word) for word in words)
