"""The firewall's table in nftables, and its absence."""

from __future__ import annotations

from dataclasses import dataclass

from provision.core.resource import Difference, Upload, call
from provision.facts import Facts, Question

#: Seconds in which the table has to be loaded; usually it takes a few hundredths.
LOAD_SECONDS = 30


@dataclass(frozen=True)
class Ruleset:
    """A table in the kernel, loaded by its unit at every boot, and replaced atomically when one of its files changes.

    `inputs`: the unit's files, and the hashes that each may have had when the table was loaded.
    """

    unit: str
    table: str
    inputs: tuple[tuple[str, frozenset[str]], ...]

    @property
    def name(self) -> str:
        """`table NAME`."""
        return f"table {self.table}"

    def question(self) -> Question:
        """Ask for the unit, and for the table in the kernel."""
        return Question(units=(self.unit,), tables=(self.table,))

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference if the table is not loaded, was loaded from other files, or has been changed since."""
        there = facts.unit(self.unit)
        if not there.running:
            return Difference("start", note="from then on only the nodes reach our ports", again="load")
        if any(there.inputs.get(path) not in fit for path, fit in self.inputs):
            return Difference("load", note="again, atomically")
        if self.table not in facts.tables:
            return Difference("load", note="again: the table was changed or flushed")
        return None if there.enablement == "enabled" else Difference("enable")

    def remember(self) -> str:
        """Record that the unit was not there."""
        return call("remember_unit", self.unit)

    def apply(self, difference: Difference) -> str:
        """Start, reload or enable the unit."""
        if difference.action == "enable":
            return call("systemctl", "enable", "-q", self.unit)
        verb = "reload" if difference.action == "load" else "start"
        return call("run_unit", verb, self.unit, str(LOAD_SECONDS))

    def upload(self) -> Upload | None:
        """Return None: there is nothing to upload."""
        return None


@dataclass(frozen=True)
class NoRuleset:
    """The absence of the table and of the unit that loads it: the inventory no longer asks for the firewall."""

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
        """Return a difference if the unit's file is still there."""
        if self.unit_file not in facts.paths:
            return None
        return Difference("remove", note="from then on everybody can reach our ports")

    def remember(self) -> str:
        """Record nothing: the unit was recorded before it was created."""
        return ""

    def apply(self, difference: Difference) -> str:
        """Remove the table and its unit."""
        return call("drop_firewall")

    def upload(self) -> Upload | None:
        """Return None: there is nothing to upload."""
        return None
