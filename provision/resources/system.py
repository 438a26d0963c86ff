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
        """Ask whether the user exists."""
        return Question(users=(self.user,))

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if the user does not exist."""
        return None if self.user in facts.users else Difference("create")

    def remember(self) -> str:
        """Record the user and the backups of the user databases, which useradd rewrites."""
        backups = [f"/etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")]
        return f"{call('remember_path', *backups)}\n{call('remember_user', self.user)}"

    def apply(self, difference: Difference) -> str:
        """Create the user."""
        return call("put_user", self.user, self.home)

    def upload(self) -> Upload | None:
        """Return None: there is nothing to upload."""
        return None


#: How long a restart of dockerd stops containers: 0.6 to 1.1 s on the lab; --shutdown-timeout is 15 s by default.
STOP_SECONDS = "about 2 s, up to 15 s if one ignores SIGTERM"


def stopped_for_good(facts: Facts) -> tuple[str, ...]:
    """Return the running containers that a restart of dockerd stops and that Docker does not start again."""
    stopped = () if facts.live_restore else facts.containers
    return tuple(one.name for one in stopped if not one.comes_back)


def stopped_a_while(facts: Facts, seconds: str = STOP_SECONDS) -> str:
    """Say which running containers of users a restart of dockerd stops, and for how long; empty if there are none."""
    names = ", ".join(one.name for one in facts.containers if not one.name.startswith(KEEPER))
    if not names:
        return ""
    if facts.live_restore:
        return f"running containers continue (live-restore): {names}"
    return f"stops for {seconds}: {names}"


@dataclass(frozen=True)
class Service:
    """A systemd service that is enabled and runs with its current inputs.

    `inputs`: the files that the service reads at its start, and the hashes that each may have had then (an empty set if
    the file does not exist yet). The unit records the hashes of the files at each start. A process that started with
    other files is restarted.
    `waited_for`: whether a change waits until the service has started. `restart_costs`: a note for the plan.
    """

    unit: str
    inputs: tuple[tuple[str, frozenset[str]], ...]
    seconds: int = 90
    stops_containers: bool = False
    waited_for: bool = True
    restart_costs: str = ""
    #: Whether a change before this one stops the unit.
    stopped: bool = False
    #: What the service has made at its start and is gone, as a plan says it: only a restart makes it anew.
    gone: str = ""

    @property
    def name(self) -> str:
        """`unit NAME`."""
        return f"unit {self.unit}"

    def question(self) -> Question:
        """Ask for state, enablement and the inputs at the last start."""
        return Question(units=(self.unit,))

    def compare(self, facts: Facts) -> Difference | None:
        """Return the difference: a restart if the inputs differ, a start if it does not run, a load of its files if it
        restarts without them, or an enablement.
        """
        there = facts.unit(self.unit)
        if there.running and not self.stopped:
            stale = [path for path, fit in self.inputs if there.inputs.get(path) not in fit]
            if stale or self.gone:
                stops = stopped_for_good(facts) if self.stops_containers else ()
                return Difference("restart", note=self._note(facts, stale), stops=stops)
            # A program of ours beside a daemon may have ended once; the next change of its files has them read.
            if there.outdated and self.waited_for:
                return Difference("load", note="systemd restarts it, and has not read its changed files")
            # static: another unit starts it
            return None if there.enablement in ("enabled", "static") else Difference("enable")
        return Difference("start", again="restart")

    def _note(self, facts: Facts, stale: list[str]) -> str:
        causes = [*(pathlib.PurePosixPath(path).name for path in stale), *filter(None, [self.gone])]
        reason = f"for {causes[0]}" + (f" and {len(causes) - 1} more" if causes[1:] else "")
        stops = stopped_a_while(facts) if self.stops_containers else ""
        return "; ".join(filter(None, [reason, self.restart_costs, stops]))

    def remember(self) -> str:
        """Record whether the unit existed, was enabled and was running."""
        return call("remember_unit", self.unit)

    def apply(self, difference: Difference) -> str:
        """Start, restart or enable the service, within a time limit, or let systemd read its files."""
        if difference.action == "enable":
            return call("systemctl", "enable", "-q", self.unit)
        if difference.action == "load":
            return call("enable_unit", self.unit)
        if difference.action == "start" and not self.waited_for:
            return call("begin_unit", self.unit)
        return call("run_unit", difference.action, self.unit, str(self.seconds))

    def upload(self) -> Upload | None:
        """Return None: there is nothing to upload."""
        return None
