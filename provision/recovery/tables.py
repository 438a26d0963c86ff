"""What a recovery shows: who is left, and who is lost."""

from __future__ import annotations

from provision.core.recovery import Recovery
from provision.core.table import Table
from provision.recovery.outlook import Outlook


def left(found: Outlook) -> Table:
    """Return who is left."""
    rows = tuple(
        (
            one.node.name,
            "yes" if one.holds_data else "no",
            "yes" if one.has_quorum else "no",
            "?" if one.holds_data and not one.lists_networks else ", ".join(sorted(one.networks)),
            one.told,
        )
        for one in found.standings
    )
    silent = tuple((found.name_of(one), "?", "?", "", "does not answer") for one in found.silent)
    return Table("left", "Who is left", ("node", "data", "quorum", "networks", "told"), rows + silent)


def lost(recovery: Recovery) -> Table:
    """Return who is lost."""
    rows = tuple((one.name, one.address, ", ".join(one.containers)) for one in recovery.lost)
    return Table("lost", "Lost", ("host", "address", "containers"), rows)
