"""A table of nftables that lets in whom we say, and its absence."""

from __future__ import annotations

from dataclasses import dataclass

from provision.core.resource import Difference, Upload, call
from provision.facts import Facts, Question

#: Loading it takes a few hundredths.
LOAD_SECONDS = 30


@dataclass(frozen=True)
class Ruleset:
    """A table in the kernel as its unit loads it, at every boot; replaced without a gap where a file of it changes.

    `inputs` names the unit's files and the hashes that each may have had when it was loaded; `neighbours` the
    addresses of those that have to let this host in.
    """

    unit: str
    table: str
    inputs: tuple[tuple[str, frozenset[str]], ...]
    neighbours: tuple[str, ...]

    @property
    def name(self) -> str:
        """`table NAME`."""
        return f"table {self.table}"

    def question(self) -> Question:
        """Ask for the unit, whether the table is in the kernel as the unit loaded it, and as whom we come to others."""
        return Question(units=(self.unit,), tables=(self.table,), neighbours=self.neighbours)

    def compare(self, facts: Facts) -> Difference | None:
        """Load it where it is not there, made of other files, or touched by somebody since."""
        there = facts.unit(self.unit)
        if not there.running:
            return Difference("start", note="only the nodes reach our ports then", again="load")
        if any(there.inputs.get(path) not in fit for path, fit in self.inputs):
            return Difference("load", note="anew, at once")
        if self.table not in facts.tables:
            return Difference("load", note="anew: somebody has changed or flushed it")
        return None if there.enablement == "enabled" else Difference("enable")

    def remember(self) -> str:
        """That the unit was not there."""
        return call("remember_unit", self.unit)

    def apply(self, difference: Difference) -> str:
        """Start, reload or enable the unit."""
        if difference.action == "enable":
            return call("systemctl", "enable", "-q", self.unit)
        verb = "reload" if difference.action == "load" else "start"
        return call("run_unit", verb, self.unit, str(LOAD_SECONDS))

    def upload(self) -> Upload | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class NoRuleset:
    """No such table, nor what loads it: the inventory does not ask for it any more."""

    table: str
    unit_file: str

    @property
    def name(self) -> str:
        """`table NAME`."""
        return f"table {self.table}"

    def question(self) -> Question:
        """Ask for the unit's file."""
        return Question(paths=(self.unit_file,))

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it is gone."""
        if self.unit_file not in facts.paths:
            return None
        return Difference("remove", note="anybody may reach our ports then")

    def remember(self) -> str:
        """Nothing that was not remembered when it was made."""
        return ""

    def apply(self, difference: Difference) -> str:
        """Take it away."""
        return call("drop_firewall")

    def upload(self) -> Upload | None:
        """Nothing."""
        return None
