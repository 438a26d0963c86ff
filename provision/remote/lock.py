"""The run lock: one run at a time on a node. The node releases it when the run or its connection ends."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from getpass import getuser
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

from provision.errors import LockHeld, Problem, ProvisionError, StepFailed
from provision.remote.remote import Remote
from provision.remote.scripts import lock_line
from provision.remote.shell import HEARTBEAT, Shell

START_TIMEOUT = 30.0


class Lock:
    """Holds every node's run lock inside a `with`; a thread sends heartbeats. `run` is the run's name."""

    def __init__(self, remotes: Sequence[Remote], verb: str, *, shared: bool = False, run: str = "") -> None:
        """Take no lock yet. A refused run is shown `verb`. With `shared`, other shared runs may hold the lock too."""
        self._remotes = sorted(remotes, key=lambda remote: IPv4Address(remote.node.address))
        self._verb = verb
        self._shared = shared
        self.run = run or secrets.token_hex(4)
        self._shells: dict[str, Shell] = {}
        self._released = threading.Event()
        self._lost: list[str] = []

    def __enter__(self) -> Self:
        """Take the locks one by one in address order, so that two runs never block each other.

        LockHeld names the holder; the locks already taken are released.
        """
        holder = f"{self._verb}\t{getuser()}@{socket.gethostname()}\t{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        try:
            for remote in self._remotes:
                self._shells[remote.node.name] = self._take(remote, holder)
        except BaseException:
            self._release()
            raise
        threading.Thread(target=self._beat, name="run lock", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the locks."""
        self._release()

    def check(self) -> None:
        """Raise StepFailed if a lock was lost, because the link was cut or this machine slept: stop changing nodes."""
        if self._lost:
            what = "the run lock was lost: another run may be at work"
            raise StepFailed(*(Problem(what, name, "run again") for name in self._lost))

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            for name, shell in self._shells.items():
                if name in self._lost:
                    continue
                try:
                    shell.beat()
                except ProvisionError:
                    self._lost.append(name)

    def _release(self) -> None:
        self._released.set()
        for shell in self._shells.values():
            shell.close()

    def _take(self, remote: Remote, holder: str) -> Shell:
        mark = secrets.token_hex(8)
        shell = remote.shell("taking the run lock", START_TIMEOUT)
        shell.send(lock_line(mark, self.run, holder, shared=self._shared).encode())
        answer = shell.wait_for_line(mark)
        if answer == "held":
            return shell
        holders = shell.finish(mark).stdout.partition("\n")[2].splitlines() or ["a run\tsomebody\tjust now"]
        verb, who, since = (*holders[0].split("\t"), "?", "?", "?")[:3]
        others = f", and {len(holders) - 1} more" if holders[1:] else ""
        what = f"locked by `{verb}` of {who} since {since}{others}"
        advice = "wait until it ends; a run that dies releases its lock"
        raise LockHeld(Problem(what, remote.node.name, advice))
