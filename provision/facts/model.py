"""Facts of a node, as a value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision import layout
from provision.docker.archive import normal
from provision.docker.vendor import Vendor
from provision.errors import Problem
from provision.facts.run_labels import Marked

#: The folder in which our units record the hashes of their input files at each start.
INPUTS = "/run/overlay-provision"


@dataclass(frozen=True)
class PathFact:
    """A file, folder or link on a node. `text`: None unless the file may be shown.

    `leads_to`: what is at the end of a link; None if there is nothing.
    """

    kind: str
    mode: int
    owner: str
    sha256: str = ""
    target: str = ""
    text: str | None = None
    leads_to: PathFact | None = None

    @property
    def followed(self) -> PathFact:
        """What is at the end of a link; anything else is that itself. A link that leads nowhere is the link."""
        return self.leads_to or self


@dataclass(frozen=True)
class Unit:
    """A systemd unit. `inputs`: the sha256 of each of its input files at the last start, by path.

    `outdated`: systemd restarts the unit by itself, and has not read the unit's files since they changed.
    """

    state: str = "inactive"
    enablement: str = ""
    process: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)
    outdated: bool = False

    @property
    def running(self) -> bool:
        """Whether the unit runs or is starting. One that ended and waits for systemd to restart it does not run."""
        return self.state in ("active", "reloading") or (self.state == "activating" and self.process > 0)


@dataclass(frozen=True)
class Container:
    """A container. `restart_policy`: asked for only if a restart of dockerd is planned."""

    identity: str
    name: str
    networks: tuple[str, ...]
    restart_policy: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def comes_back(self) -> bool:
        """Whether Docker starts the container again after a restart of dockerd."""
        return self.restart_policy in ("always", "unless-stopped", "on-failure")


@dataclass(frozen=True)
class Listener:
    """A port with a listener. `owner`: its process, as `ss` prints it, or `unknown`.

    `unit`: the systemd unit of which it is the main process; empty if it is none's.
    """

    protocol: str
    address: str
    port: int
    owner: str
    unit: str = ""


@dataclass(frozen=True)
class Clock:
    """How many seconds a node's clock is ahead of the controller's: between `least` and `most`."""

    least: float
    most: float


@dataclass(frozen=True)
class Space:
    """The file system of a path, or of its nearest existing parent: its mount point, free bytes and mount options.

    `inodes`: how many files more it can hold; None if it has no such limit.
    """

    mount: str
    free: int
    options: frozenset[str] = frozenset()
    inodes: int | None = None


@dataclass(frozen=True)
class Facts:
    """All facts of one node."""

    values: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, PathFact] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    #: The source address of packets to each neighbour, by the neighbour's address.
    sources: Mapping[str, str] = field(default_factory=dict)
    #: Our nftables tables that are in the kernel unchanged since they were loaded.
    tables: frozenset[str] = frozenset()
    #: The addresses that our table in the kernel lets in; none if there is no such table.
    admitted: frozenset[str] = frozenset()
    listeners: tuple[Listener, ...] = ()
    #: Whether Docker answered everything, networks included.
    docker_answers: bool = False
    #: The containers that run, and all others.
    containers: tuple[Container, ...] = ()
    stopped: tuple[Container, ...] = ()
    #: Whether Docker answered which containers there are; it does so before it answers everything.
    containers_known: bool = False
    #: Every network of the node's Docker, as in its API.
    networks: tuple[Mapping[str, Any], ...] = ()
    images: frozenset[str] = frozenset()
    #: What the checks of runs created and left.
    marked: tuple[Marked, ...] = ()
    #: The answers of Docker's API, by path.
    docker: Mapping[str, Any] = field(default_factory=dict)
    #: The answers of the control plane's shell functions, by the name that each function gives its answer.
    answers: Mapping[str, str] = field(default_factory=dict)
    clock: Clock | None = None
    #: The file systems, by the path that was asked.
    spaces: Mapping[str, Space] = field(default_factory=dict)
    #: The MTU in bytes of the interface that has an address, by address.
    mtus: Mapping[str, int] = field(default_factory=dict)
    #: The addresses of name servers in resolv.conf.
    resolvers: tuple[str, ...] = ()
    #: The refusals of the node's sshd to forward to what we need; empty before `tunnels.tried`.
    not_forwarded: tuple[Problem, ...] = ()

    def has_image(self, name: str) -> bool:
        """Say whether Docker has an image of this name, with or without its default registry and tag."""
        return normal(name) in map(normal, self.images)

    @property
    def cluster(self) -> str:
        """The cluster that Docker is configured for, by the first line of our drop-in; empty if there is none."""
        drop_in = self.paths.get(layout.DOCKER_DROP_IN)
        found = re.match(r"# Written by overlay-provision for the cluster (\S+);", (drop_in and drop_in.text) or "")
        return found[1] if found else ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings in the user's daemon.json; empty if the file is missing or invalid."""
        try:
            settings = json.loads(self.values.get("daemon-json") or "{}")
        except ValueError:
            return {}
        return settings if isinstance(settings, dict) else {}

    @property
    def every_container(self) -> tuple[Container, ...]:
        """The containers that run, and all others."""
        return (*self.containers, *self.stopped)

    @property
    def live_restore(self) -> bool:
        """Whether containers continue to run while dockerd does not."""
        flag = re.search(r"--live-restore(?!=false)", Vendor.of(self.values).flags)
        return self.settings.get("live-restore") is True or flag is not None

    def unit(self, name: str) -> Unit:
        """Return a unit. A unit that does not exist is inactive."""
        return self.units.get(name, Unit())
