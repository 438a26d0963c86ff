"""A verb at work: the cluster, how to log in, whom to ask, and what is going on."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path

from provision import artifact, engine, inventory
from provision.api import Clients
from provision.artifact import Artifact
from provision.control_plane import ControlPlane, select
from provision.errors import PreflightRefused, Problem
from provision.inventory.model import Cluster
from provision.pki import Identity
from provision.remote import Login, Remotes
from provision.report.progress import Progress
from provision.situation import Situation


@dataclass(frozen=True)
class Look:
    """What could be seen, and why not the rest: of the etcd release, and of nodes that could not be asked."""

    remotes: Remotes
    situation: Situation
    of_release: tuple[Problem, ...]
    unreached: tuple[Problem, ...]


@dataclass(frozen=True)
class Session:
    """What every verb starts from. `run`: its name, which marks what it makes."""

    path: Path
    login: Login
    progress: Progress
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    @cached_property
    def cluster(self) -> Cluster:
        """The inventory, loaded. InventoryError or UsageError."""
        return inventory.load(self.path)

    @property
    def is_loaded(self) -> bool:
        """Whether the inventory has been read, and was right."""
        return "cluster" in vars(self)

    @cached_property
    def plane(self) -> ControlPlane:
        """The control plane that the inventory asks for."""
        return select(self.cluster)

    @contextmanager
    def connected(self, lock: str = "", *, shared: bool = False) -> Iterator[Remotes]:
        """Connect to every node; with a verb in `lock`, hold every node's run lock meanwhile, perhaps beside others."""
        for node in self.cluster.nodes:
            self.progress.say(node.name, "connecting")
        with self.progress.stage("connect"):
            remotes = Remotes.open(self.cluster.nodes, self.login)
        with remotes:
            if not lock:
                yield remotes
                return
            with self.progress.stage("lock"):
                held = remotes.lock(lock, shared=shared, run=self.run).__enter__()
            try:
                yield remotes
            finally:
                held.__exit__(None, None, None)

    @contextmanager
    def asked(
        self, lock: str = "", needed_later: Sequence[str] = (), *, shared: bool = False
    ) -> Iterator[tuple[Remotes, Situation]]:
        """Connect, and ask every node everything. PreflightRefused where the release will not do.

        What to ask is made while the connections are, and `needed_later` imported meanwhile.
        """
        release = artifact.load(self.cluster)
        with ThreadPoolExecutor(1) as beside:
            ready = beside.submit(self._questions, release)
            for module in needed_later:
                beside.submit(import_module, module)
            with self.connected(lock, shared=shared) as remotes:
                start, scripts = ready.result()
                for node in self.cluster.nodes:
                    self.progress.say(node.name, "asking for facts")
                with self.progress.stage("facts"):
                    situation = engine.gather(self.plane, start, remotes, scripts)
                yield remotes, situation

    @contextmanager
    def looked(self) -> Iterator[Look]:
        """Connect to the nodes that let us in, and ask them everything. What stands in the way is told, not raised."""
        release, of_release = artifact.UNKNOWN, tuple[Problem, ...]()
        try:
            release = artifact.load(self.cluster)
        except PreflightRefused as error:
            of_release = error.problems
        start, scripts = self._questions(release)
        with self.progress.stage("connect"):
            remotes, refused = Remotes.reach(self.cluster.nodes, self.login)
        with remotes:
            with self.progress.stage("facts"):
                situation = engine.gather(self.plane, start, remotes, scripts)
            # Of a jump host that all go through each of them tells the same.
            told = dict.fromkeys(problem for error in refused.values() for problem in error.problems)
            yield Look(remotes, situation, of_release, tuple(told))

    def _questions(self, release: Artifact) -> tuple[Situation, Mapping[str, str]]:
        start = Situation(self.cluster, release, Identity.read(self.cluster))
        return start, engine.scripts(self.plane, start)

    @contextmanager
    def clients(self, remotes: Remotes, identity: Identity) -> Iterator[Clients]:
        """API clients through `remotes`, closed at the end."""
        clients = Clients(self.cluster, remotes, identity)
        try:
            yield clients
        finally:
            clients.close()

    def agreed(self, question: str) -> bool:
        """Ask on the terminal. False without one."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        with self.progress.paused():
            print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
            return sys.stdin.readline().strip().lower() in ("y", "yes")
