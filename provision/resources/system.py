"""Users and services."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from provision.core.resource import Difference, Upload, call
from provision.facts import Facts, Question
from provision.resources.containers import KEEPER


@dataclass(frozen=True)
class User:
    """A system user with a group of its own."""

    user: str
    home: str

    @property
    def name(self) -> str:
        """`user NAME`."""
        return f"user {self.user}"

    def question(self) -> Question:
        """Ask whether it exists."""
        return Question(users=(self.user,))

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it exists."""
        return None if self.user in facts.users else Difference("create")

    def remember(self) -> str:
        """The databases' backups too: useradd rewrites them."""
        backups = [f"/etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")]
        return f"{call('remember_path', *backups)}\n{call('remember_user', self.user)}"

    def apply(self, difference: Difference) -> str:
        """Make it."""
        return call("put_user", self.user, self.home)

    def upload(self) -> Upload | None:
        """Nothing."""
        return None


#: A restart of dockerd took 0.6 to 1.1 s on the lab; its --shutdown-timeout is 15 s by default.
STOP_SECONDS = "about 2 s, up to 15 s where one ignores SIGTERM"


@dataclass(frozen=True)
class Service:
    """A systemd service that runs, enabled, on the inputs as they are now.

    `inputs` names the files it reads when it starts and the hashes that each may have had then (none: the file
    is not made yet). The unit itself records what it really started on; a process started on something else,
    by whomever, is restarted. `waited_for` is false where others wait for its start. `restart_costs` is told in
    the plan.
    """

    unit: str
    inputs: tuple[tuple[str, frozenset[str]], ...]
    seconds: int = 90
    stops_containers: bool = False
    waited_for: bool = True
    restart_costs: str = ""
    #: Whether a change before this one stops the unit.
    stopped: bool = False

    @property
    def name(self) -> str:
        """`unit NAME`."""
        return f"unit {self.unit}"

    def question(self) -> Question:
        """Ask for state, enablement and what it was started on."""
        return Question(units=(self.unit,))

    def compare(self, facts: Facts) -> Difference | None:
        """Restart what runs on other inputs, start what does not run, enable what is not enabled."""
        there = facts.unit(self.unit)
        if there.running and not self.stopped:
            stale = [path for path, fit in self.inputs if there.inputs.get(path) not in fit]
            if stale:
                stopped = facts.containers if self.stops_containers and not facts.live_restore else ()
                lost = tuple(one.name for one in stopped if not one.comes_back)
                return Difference("restart", note=self._note(facts, stale), stops=lost)
            # static: started by what wants it
            return None if there.enablement in ("enabled", "static") else Difference("enable")
        return Difference("start", again="restart")

    def _note(self, facts: Facts, stale: list[str]) -> str:
        reason = f"for {pathlib.PurePosixPath(stale[0]).name}" + (f" and {len(stale) - 1} more" if stale[1:] else "")
        return "; ".join(filter(None, [reason, self.restart_costs, self._stopped(facts)]))

    def _stopped(self, facts: Facts) -> str:
        running = [one.name for one in facts.containers if not one.name.startswith(KEEPER)]
        if not running or not self.stops_containers:
            return ""
        names = ", ".join(running)
        if facts.live_restore:
            return f"running containers go on (live-restore): {names}"
        return f"stops for {STOP_SECONDS}: {names}"

    def remember(self) -> str:
        """Whether it was there, enabled and running."""
        return call("remember_unit", self.unit)

    def apply(self, difference: Difference) -> str:
        """Start, restart or enable it, bounded in time."""
        if difference.action == "enable":
            return call("systemctl", "enable", "-q", self.unit)
        if difference.action == "start" and not self.waited_for:
            return call("begin_unit", self.unit)
        return call("run_unit", difference.action, self.unit, str(self.seconds))

    def upload(self) -> Upload | None:
        """Nothing."""
        return None
