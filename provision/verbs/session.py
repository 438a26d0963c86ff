"""A verb at work: the cluster, how to log in, whom to ask, and what is going on."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path

from provision import engine, inventory, planes
from provision.checks import catalogue
from provision.core.check import Check, named
from provision.core.plane import Coordinator, Plane
from provision.core.situation import Situation
from provision.errors import ConnectionFailed, PreflightRefused, Problem
from provision.inventory.model import Cluster, Node
from provision.remote import Login, Remotes
from provision.report.progress import Progress


@dataclass(frozen=True)
class Survey:
    """What the nodes that let us in have answered; what is wrong on the controller, and which nodes did not answer."""

    remotes: Remotes
    situation: Situation
    of_local: tuple[Problem, ...]
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
        return inventory.load(self.path, planes.ports())

    @property
    def is_loaded(self) -> bool:
        """Whether the inventory has been read, and was right."""
        return "cluster" in vars(self)

    @cached_property
    def plane(self) -> Plane:
        """The control plane that the inventory asks for."""
        return planes.select(self.cluster)

    @cached_property
    def preflight_checks(self) -> tuple[Check, ...]:
        """The checks that are made before anything is touched."""
        return catalogue.of_preflight(self.plane)

    def ignored(self, names: Collection[str]) -> frozenset[str]:
        """Return the checks of preflight that shall only warn. UsageError where there is none of a name."""
        return named(self.preflight_checks, names, "--ignore")

    @contextmanager
    def connected(self, lock: str = "", *, shared: bool = False, absent: bool = False) -> Iterator[Remotes]:
        """Connect to every node; with a verb in `lock`, hold every node's run lock meanwhile, perhaps beside others.

        `absent`: to hosts that leave as well.
        """
        hosts = self.cluster.hosts if absent else self.cluster.nodes
        for host in hosts:
            self.progress.say(host.name, "connecting")
        with self.progress.stage("connect"):
            remotes = self._open(hosts)
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

    def _open(self, hosts: Sequence[Node]) -> Remotes:
        """Connect to all hosts. ConnectionFailed says of one that is to leave what can be done without it."""
        try:
            return Remotes.open(hosts, self.login)
        except ConnectionFailed as error:
            advice = "bring it back, or delete its entry: then its member is removed, and the host stays as it is"
            lost = {problem.where for problem in error.problems}
            gone = (host for host in self.cluster.absent if host.name in lost)
            what = "cannot be reached, and a host that leaves (state: absent) puts itself back"
            raise ConnectionFailed(*error.problems, *(Problem(what, host.name, advice) for host in gone)) from None

    @contextmanager
    def survey(
        self, lock: str = "", needed_later: Sequence[str] = (), *, shared: bool = False, absent: bool = False
    ) -> Iterator[tuple[Remotes, Situation]]:
        """Connect, and ask every node everything. PreflightRefused where something is wrong on the controller.

        The questions are made while the connections are, and `needed_later` is imported meanwhile.
        """
        local, problems = self.plane.local(self.cluster)
        if problems:
            raise PreflightRefused(*problems)
        with ThreadPoolExecutor(1) as beside:
            ready = beside.submit(self._questions, local)
            for module in needed_later:
                beside.submit(import_module, module)
            with self.connected(lock, shared=shared, absent=absent) as remotes:
                start, scripts = ready.result()
                for remote in remotes:
                    self.progress.say(remote.node.name, "asking for facts")
                with self.progress.stage("facts"):
                    situation = engine.gather(self.plane, start, remotes, scripts)
                yield remotes, situation

    @contextmanager
    def partial_survey(self) -> Iterator[Survey]:
        """Connect to the nodes that let us in, and ask them everything. Obstacles are reported, not raised."""
        local, problems = self.plane.local(self.cluster)
        start, scripts = self._questions(local)
        with self.progress.stage("connect"):
            remotes, refused = Remotes.reach(self.cluster.nodes, self.login)
        with remotes:
            with self.progress.stage("facts"):
                situation = engine.gather(self.plane, start, remotes, scripts)
            # Where all nodes are reached through one jump host, each repeats the jump host's problem.
            unreached = dict.fromkeys(problem for error in refused.values() for problem in error.problems)
            yield Survey(remotes, situation, problems, tuple(unreached))

    def _questions(self, local: object) -> tuple[Situation, Mapping[str, str]]:
        start = Situation(self.cluster, local)
        return start, engine.scripts(self.plane, start)

    @contextmanager
    def coordinator(self, remotes: Remotes, situation: Situation) -> Iterator[Coordinator]:
        """Give the door to the running cluster, closed at the end."""
        coordinator = self.plane.open(remotes, situation)
        try:
            yield coordinator
        finally:
            coordinator.close()

    def agreed(self, question: str) -> bool:
        """Ask on the terminal. False without one."""
        return self.progress.agreed(question)
