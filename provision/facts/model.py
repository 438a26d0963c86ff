"""What is so on a node, as a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.errors import Problem
from provision.facts.run_labels import Marked

#: Where a unit of ours leaves the hashes of the files that it was last started on.
INPUTS = "/run/overlay-provision"


@dataclass(frozen=True)
class PathFact:
    """A file, folder or link on a node. `text` is known only of files that may be shown."""

    kind: str
    mode: int
    owner: str
    sha256: str = ""
    target: str = ""
    text: str | None = None


@dataclass(frozen=True)
class Unit:
    """A systemd unit, and the files (path to sha256) that its process was started on."""

    state: str = "inactive"
    enablement: str = ""
    process: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether it is up, or on its way up; one that has ended and waits for its next try is not."""
        return self.state in ("active", "reloading") or (self.state == "activating" and self.process > 0)


@dataclass(frozen=True)
class Container:
    """A running container, as far as a restart of its daemon matters. The policy is asked only where it does."""

    identity: str
    name: str
    networks: tuple[str, ...]
    restart_policy: str = ""

    @property
    def comes_back(self) -> bool:
        """Whether Docker starts it again by itself after the daemon was restarted."""
        return self.restart_policy in ("always", "unless-stopped", "on-failure")


@dataclass(frozen=True)
class Listener:
    """Somebody listening on a port."""

    protocol: str
    address: str
    port: int
    owner: str


@dataclass(frozen=True)
class Clock:
    """How far a node's clock is ahead of the controller's, in seconds: it lies between these two."""

    least: float
    most: float


@dataclass(frozen=True)
class Space:
    """The file system that holds a path, or will hold it: where it is mounted, how, and the bytes free on it."""

    mount: str
    free: int
    options: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Facts:
    """All that was asked of one node."""

    values: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, PathFact] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    #: By a neighbour's address, the address from which packets go there.
    sources: Mapping[str, str] = field(default_factory=dict)
    #: Of nftables: those of ours that are in the kernel as they were loaded.
    tables: frozenset[str] = frozenset()
    listeners: tuple[Listener, ...] = ()
    #: Whether it told everything, networks too.
    docker_answers: bool = False
    containers: tuple[Container, ...] = ()
    #: Every network that Docker has here, as its API tells it.
    networks: tuple[Mapping[str, Any], ...] = ()
    images: frozenset[str] = frozenset()
    #: What runs made to prove something.
    marked: tuple[Marked, ...] = ()
    #: What Docker's API answered, by the path that was asked.
    docker: Mapping[str, Any] = field(default_factory=dict)
    #: What a control plane's own shell functions answered, by the name that each gave its answer.
    answers: Mapping[str, str] = field(default_factory=dict)
    clock: Clock | None = None
    spaces: Mapping[str, Space] = field(default_factory=dict)
    #: Bytes of the largest packet of the interface that has the address.
    mtus: Mapping[str, int] = field(default_factory=dict)
    #: Addresses of name servers, as its files give them.
    resolvers: tuple[str, ...] = ()
    #: What sshd said when it was to lead to a port that we need; empty before it was tried.
    not_forwarded: tuple[Problem, ...] = ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the user's daemon.json says; nothing where it cannot be read."""
        try:
            settings = json.loads(self.values.get("daemon-json") or "{}")
        except ValueError:
            return {}
        return settings if isinstance(settings, dict) else {}

    @property
    def live_restore(self) -> bool:
        """Whether containers outlive their dockerd here."""
        return self.settings.get("live-restore") is True

    def unit(self, name: str) -> Unit:
        """Return what is known of a unit: one that does not exist is inactive."""
        return self.units.get(name, Unit())
