"""All nodes of a run: connect to them, call a function with each in parallel, and collect the errors."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from provision.errors import Problem, ProvisionError, StepFailed, UsageError
from provision.inventory.model import Node
from provision.remote.connection import Gateways
from provision.remote.lock import Lock
from provision.remote.remote import Remote
from provision.remote.scripts import LIVING
from provision.remote.target import Login

T = TypeVar("T")
Subject = TypeVar("Subject")


class Remotes:
    """The connected nodes of a run; a context manager that closes them."""

    def __init__(self, remotes: Iterable[Remote], gateways: Gateways) -> None:
        """Take nodes that are connected already. `open` connects to nodes."""
        self._remotes = {remote.node.name: remote for remote in remotes}
        self._gateways = gateways
        self._lock: Lock | None = None

    @classmethod
    def open(cls, nodes: Sequence[Node], login: Login) -> Self:
        """Connect to all nodes in parallel. One ConnectionFailed holds the problems of every node."""
        remotes, refused = cls.reach(nodes, login)
        if refused:
            remotes.close()
            raise merged(list(refused.values()))
        return remotes

    @classmethod
    def reach(
        cls, nodes: Sequence[Node], login: Login, first: Callable[[Remote], object] = lambda _: None
    ) -> tuple[Self, dict[str, ProvisionError]]:
        """Connect to all nodes in parallel. Return the connected ones, and the error of each other node by its name.

        `first` is called with each node as soon as it is connected; the error of a node may be from there.
        UsageError if the SSH configuration cannot be read: it belongs to the controller, not to a node.
        """
        gateways = Gateways(login)
        opened: list[Remote] = []
        refused: dict[str, ProvisionError] = {}

        def connect(node: Node) -> None:
            try:
                remote = Remote(node, login, gateways)
                opened.append(remote)
                first(remote)
            except UsageError:  # the SSH configuration is wrong
                raise
            except ProvisionError as error:
                refused[node.name] = error

        try:
            in_parallel(connect, nodes)
        except BaseException:
            for remote in opened:
                remote.close()
            gateways.close()
            raise
        order = [node.name for node in nodes]
        remotes = cls(sorted(opened, key=lambda remote: order.index(remote.node.name)), gateways)
        return remotes, {name: refused[name] for name in order if name in refused}

    def each(self, function: Callable[[Remote], T], nodes: Sequence[Node] | None = None) -> dict[str, T]:
        """Call the function with every node, or the given nodes, in parallel. Return the answers by node name.

        The errors of all nodes are merged into one. An interrupt is raised at once; `close` then ends running scripts.
        """
        remotes = list(self) if nodes is None else [self[node.name] for node in nodes]
        answers = in_parallel(function, remotes)
        return {remote.node.name: answer for remote, answer in zip(remotes, answers, strict=True)}

    def attempt(
        self, function: Callable[[Remote], T], names: Collection[str] | None = None
    ) -> tuple[dict[str, T], dict[str, ProvisionError]]:
        """Call the function as `each` does. Return the answers, and the error of each node that gave none, by name."""
        refused: dict[str, ProvisionError] = {}
        answers: dict[str, T] = {}

        def call(remote: Remote) -> None:
            try:
                answers[remote.node.name] = function(remote)
            except ProvisionError as error:
                refused[remote.node.name] = error

        asked = [remote for remote in self if names is None or remote.node.name in names]
        in_parallel(call, asked)
        order = [remote.node.name for remote in asked]
        return (
            {name: answers[name] for name in order if name in answers},
            {name: refused[name] for name in order if name in refused},
        )

    def only(self, names: Collection[str]) -> Remotes:
        """Return these nodes alone, over the same connections. Who has opened them closes them."""
        return Remotes((remote for remote in self if remote.node.name in names), self._gateways)

    def lock(self, verb: str, *, shared: bool = False, run: str = "") -> Lock:
        """Return the run lock of all these nodes, for a `with`, under the run's name. LockHeld names the holder.

        Runs that change only resources of their own may share the lock.
        """
        self._lock = Lock(list(self), verb, shared=shared, run=run)
        return self._lock

    @property
    def run(self) -> str:
        """The name of this run, which marks the resources it makes. Empty before `lock`."""
        return self._lock.run if self._lock else ""

    def living(self) -> frozenset[str]:
        """Return the names of the runs that hold the lock of any of these nodes, including this run."""
        return frozenset(
            run for result in self.each(lambda remote: remote.run(LIVING)).values() for run in result.stdout.split()
        )

    def check_lock(self) -> None:
        """Raise StepFailed if the run lock was taken and then lost: stop changing nodes."""
        if self._lock:
            self._lock.check()

    def __getitem__(self, name: str) -> Remote:
        """Return the node of that name. KeyError if there is none."""
        return self._remotes[name]

    def __iter__(self) -> Iterator[Remote]:
        """Iterate over the nodes in inventory order."""
        return iter(self._remotes.values())

    def close(self) -> None:
        """Close every connection, then the jump hosts."""
        in_parallel(Remote.close, list(self))
        self._gateways.close()

    def __enter__(self) -> Self:
        """Do nothing: `open` has connected."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        self.close()


def in_parallel(function: Callable[[Subject], T], subjects: Sequence[Subject]) -> list[T]:
    """Call the function with each subject in a thread of its own. Return the answers in the order of the subjects.

    Errors are raised when all threads have ended, merged as `merged` does. An interrupt is raised at once; the
    threads are left running.
    """
    if len(subjects) == 1:
        return [function(subjects[0])]
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()
    answers: dict[int, T] = {}
    errors: dict[int, BaseException] = {}

    def work(index: int, subject: Subject) -> None:
        try:
            answers[index] = function(subject)
        except BaseException as error:
            errors[index] = error
        ended.put(None)

    for index, subject in enumerate(subjects):
        threading.Thread(target=work, args=(index, subject), daemon=True).start()
    for _ in subjects:
        ended.get()
    if errors:
        raise merged([errors[index] for index in sorted(errors)])
    return [answers[index] for index in range(len(subjects))]


def merged(errors: Sequence[BaseException]) -> BaseException:
    """Return one error for all: the first that is no ProvisionError, else a ProvisionError with every problem once.

    It is a StepFailed if one of the errors is, because then something may have changed.
    """
    for error in errors:
        if not isinstance(error, ProvisionError):
            return error
    ours = [error for error in errors if isinstance(error, ProvisionError)]
    kind = next((type(error) for error in ours if isinstance(error, StepFailed)), type(ours[0]))
    problems: dict[Problem, None] = {problem: None for error in ours for problem in error.problems}
    return kind(*problems)
