"""A verb at work: the cluster, how to log in, whom to ask, and what is going on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from threading import Thread

from provision import artifact, inventory
from provision.api import Clients
from provision.control_plane import ControlPlane, select
from provision.inventory.model import Cluster
from provision.pki import Identity
from provision.remote import Login, Remotes
from provision.report.progress import Progress
from provision.situation import Situation


def _import_beside(*modules: str) -> None:
    """Load what is needed later, up to a third of a second's worth: while the nodes are asked there is time."""
    Thread(target=lambda: [import_module(module) for module in modules], name="imports", daemon=True).start()


@dataclass(frozen=True)
class Session:
    """What every verb starts from."""

    path: Path
    login: Login
    progress: Progress

    @cached_property
    def cluster(self) -> Cluster:
        """The inventory, loaded. InventoryError or UsageError."""
        return inventory.load(self.path)

    @cached_property
    def plane(self) -> ControlPlane:
        """The control plane that the inventory asks for."""
        return select(self.cluster)

    def situation(self) -> Situation:
        """What the controller knows before it asks any node. PreflightRefused where the release will not do."""
        return Situation(self.cluster, artifact.load(self.cluster), Identity.read(self.cluster))

    @contextmanager
    def connected(self, lock: str = "") -> Iterator[Remotes]:
        """Connect to every node; with a verb in `lock`, hold every node's run lock meanwhile."""
        nodes = self.cluster.nodes
        for node in nodes:
            self.progress.say(node.name, "connecting")
        with self.progress.stage("connect"):
            remotes = Remotes.open(nodes, self.login)
        _import_beside("provision.report.text", *(("docker.types", "etcd3") if lock else ()))
        with remotes:
            if not lock:
                yield remotes
                return
            with self.progress.stage("lock"):
                held = remotes.lock(lock).__enter__()
            try:
                yield remotes
            finally:
                held.__exit__(None, None, None)

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
