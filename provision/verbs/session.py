"""A verb at work: the cluster, how to log in, whom to ask, and what is going on."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from itertools import chain
from pathlib import Path

from provision import gathering, inventory, planes
from provision.checks import catalogue
from provision.core.check import Check, named
from provision.core.plan import CONTROLLER
from provision.core.plane import Coordinator, Plane
from provision.core.situation import Situation
from provision.errors import ConnectionFailed, HostSilent, PreflightRefused, Problem, ProvisionError, StepFailed
from provision.facts import Facts
from provision.inventory.model import Cluster, Node
from provision.recovery import generations, outlook, record
from provision.remote import Login, Remote, Remotes, merged
from provision.report.progress import Progress
from provision.verbs import half_done


@dataclass(frozen=True)
class Survey:
    """What the nodes that let us in have answered; what is wrong on the controller, and which nodes did not answer."""

    remotes: Remotes
    situation: Situation
    of_local: tuple[Problem, ...]
    unreached: tuple[Problem, ...]

    @property
    def silent(self) -> frozenset[str]:
        """The names of the nodes that did not answer."""
        return frozenset(node.name for node in self.situation.cluster.nodes if node.name not in self.situation.facts)


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
    def candidates(self) -> tuple[Plane, ...]:
        """The control planes that may be meant; one, after `aim_at`."""
        return planes.candidates(self.cluster)

    def aim_at(self, plane: Plane) -> None:
        """Take this control plane from now on: a survey has chosen it, or a migration leads there."""
        self.__dict__["candidates"] = (plane,)

    @property
    def plane(self) -> Plane:
        """The control plane, once it is chosen."""
        (plane,) = self.candidates
        return plane

    @property
    def preflight_checks(self) -> tuple[Check, ...]:
        """The checks that are made before anything is touched."""
        return catalogue.of_preflight(*self.candidates)

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
        with remotes, ExitStack() as held:
            if lock:
                with self.progress.stage("lock"):
                    held.enter_context(remotes.lock(lock, shared=shared, run=self.run))
            yield remotes

    def _open(self, hosts: Sequence[Node]) -> Remotes:
        """Connect to all hosts. ConnectionFailed also says what can be done without those that are silent."""
        remotes, refused = Remotes.reach(hosts, self.login)
        if not refused:
            return remotes
        remotes.close()
        failed = merged(list(refused.values()))
        if not isinstance(failed, ConnectionFailed):
            raise failed
        advice = "bring it back, or delete its entry: then its member is removed, and the host stays as it is"
        what = "cannot be reached, and a host that leaves (state: absent) puts itself back"
        gone = (Problem(what, host.name, advice) for host in self.cluster.absent if host.name in refused)
        silent = [name for name, error in refused.items() if isinstance(error, HostSilent)]
        without = outlook.without(self.cluster, silent) if planes.recorded(self.cluster) else ()
        raise ConnectionFailed(*failed.problems, *gone, *without)

    @contextmanager
    def survey(
        self,
        lock: str = "",
        needed_later: Sequence[str] = (),
        *,
        shared: bool = False,
        absent: bool = False,
        supplies: bool = True,
    ) -> Iterator[tuple[Remotes, Situation]]:
        """Connect, ask every node everything, and choose the control plane by the answers.

        PreflightRefused where something is wrong on the controller. The questions are made while the connections are,
        and `needed_later` is imported meanwhile. Without `supplies`, what the nodes would get from the controller is
        not looked for, and may be missing.
        """
        if lock != "reset":
            half_done.refuse(self.cluster)
        starts, problems = self._starts()
        if supplies and all(problems.values()):
            raise PreflightRefused(*chain(*problems.values()))
        with ThreadPoolExecutor(1) as beside:
            ready = beside.submit(gathering.scripts, starts)
            for module in needed_later:
                beside.submit(import_module, module)
            with self.connected(lock, shared=shared, absent=absent) as remotes:
                scripts = ready.result()
                for remote in remotes:
                    self.progress.say(remote.node.name, "asking for facts")
                with self.progress.stage("facts"):
                    situation, missing = self._asked(starts, scripts, remotes, supplies=supplies)
                if lock != "reset":
                    half_done.refuse(self.cluster, situation.facts)
                    generations.refuse(self.plane, situation)
                if supplies and (wrong := (*problems[self.plane], *missing)):
                    raise PreflightRefused(*wrong)
                yield remotes, situation

    @contextmanager
    def partial_survey(self, *, supplies: bool = False, hurried: Collection[str] = ()) -> Iterator[Survey]:
        """Connect to the nodes that let us in, and ask them everything at once. Obstacles are reported, not raised.

        A node that answers the login and then nothing counts among those that were not reached. `hurried`: the names of
        nodes that are expected to be silent.

        With `supplies`, the controller gets what the nodes would need.
        """
        starts, problems = self._starts()
        scripts = gathering.scripts(starts)
        with ExitStack() as held:
            with self.progress.stage("facts"):
                remotes, answers, refused = self._reached(scripts, hurried)
                held.enter_context(remotes)
                found, silent = gathering.asked_again(scripts, remotes, answers)
                answering = remotes.only(found)
                situation, missing = self._understood(starts, found, answering, supplies=supplies)
            # Where all nodes are reached through one jump host, each repeats the jump host's problem.
            errors = (*refused.values(), *silent.values())
            unreached = dict.fromkeys(problem for error in errors for problem in error.problems)
            yield Survey(answering, situation, (*problems[self.plane], *missing), tuple(unreached))

    def _reached(
        self, scripts: Mapping[str, str], hurried: Collection[str]
    ) -> tuple[Remotes, dict[str, Facts], dict[str, ProvisionError]]:
        """Connect to all nodes, and ask each at once: who answers does not wait for who is silent."""
        ask, answers = gathering.asking(scripts), dict[str, Facts]()

        def first(remote: Remote) -> None:
            self.progress.say(remote.node.name, "asking for facts")
            answers[remote.node.name] = ask(remote)

        for node in self.cluster.nodes:
            self.progress.say(node.name, "connecting")
        login = replace(self.login, hurried=frozenset(hurried))
        remotes, refused = Remotes.reach(self.cluster.nodes, login, first)
        return remotes, {remote.node.name: answers[remote.node.name] for remote in remotes.only(answers)}, refused

    def _starts(self) -> tuple[Mapping[Plane, Situation], Mapping[Plane, tuple[Problem, ...]]]:
        """Return what is known for each candidate before any node is asked, and what is wrong with that.

        Candidates with which nothing is wrong come first: where the nodes decide nothing, the first one is taken.
        """
        kept = {plane: plane.local(self.cluster) for plane in self.candidates}
        kept = dict(sorted(kept.items(), key=lambda one: bool(one[1][1])))
        recorded = planes.recorded(self.cluster) is not None
        start = Situation(self.cluster, recorded=recorded, recoveries=record.listed(self.cluster))
        starts = {plane: replace(start, local=local) for plane, (local, _) in kept.items()}
        return starts, {plane: problems for plane, (_, problems) in kept.items()}

    def _asked(
        self, starts: Mapping[Plane, Situation], scripts: Mapping[str, str], remotes: Remotes, *, supplies: bool
    ) -> tuple[Situation, tuple[Problem, ...]]:
        """Ask the nodes for all candidates at once; `_understood` returns the rest."""
        try:
            found = gathering.answers(scripts, remotes)
        except StepFailed as error:  # nothing was changed before
            raise PreflightRefused(*error.problems) from error
        return self._understood(starts, found, remotes, supplies=supplies)

    def _understood(
        self, starts: Mapping[Plane, Situation], found: Mapping[str, Facts], remotes: Remotes, *, supplies: bool
    ) -> tuple[Situation, tuple[Problem, ...]]:
        """Choose the candidate that these answers mean, and return its situation, and what is missing."""
        plane = planes.chosen(tuple(starts), Situation(self.cluster, facts=found))
        self.aim_at(plane)
        self.refuse_another_cluster(found)
        situation = replace(starts[plane], facts=found)
        missing: tuple[Problem, ...] = ()
        if supplies:
            situation, missing = plane.supplied(situation, lambda what: self.progress.say(CONTROLLER, what))
        return gathering.completed(plane, situation, remotes), missing

    def refuse_another_cluster(self, found: Mapping[str, Facts]) -> None:
        """Raise PreflightRefused if a node was provisioned for a cluster of another name.

        The certificates, the labels of the networks, and the folder of the identity all have that name.
        """
        mine = self.cluster.name
        others = {name: facts.cluster for name, facts in found.items() if facts.cluster not in ("", mine)}
        advice = "write `cluster: {0}` again; or, to rename it, first fab reset with {0}, then fab provision with {1}"
        what = "this host belongs to the cluster {}, and the inventory calls it {}"
        if others:
            raise PreflightRefused(
                *(Problem(what.format(old, mine), name, advice.format(old, mine)) for name, old in others.items())
            )

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
