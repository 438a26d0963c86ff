"""The tables of a migration: what comes back, and how long it was away. Pure."""

from __future__ import annotations

from provision.core.table import Table
from provision.docker.containers import Attachment, Container
from provision.migration.phases import told
from provision.migration.record import Migration

#: How long containers are away: measured on two hosts of the lab with seven containers, at leisure and under load.
AWAY = "about 5 to 15 s (measured on two hosts with seven containers), and 10 s more if one ignores SIGTERM"


def place(one: Attachment) -> str:
    """Return `demo 10.99.0.50 (fixed) as www`."""
    address = f" {one.address}{' (fixed)' if one.fixed else ''}" if one.address else ""
    return f"{one.network}{address}{' as ' if one.aliases else ''}{', '.join(one.aliases)}"


def _row(one: Container) -> tuple[str, ...]:
    places = "; ".join(map(place, one.attachments))
    restart = "ends for good (--rm)" if one.temporary else one.restart
    return one.node, one.name, places or "none that hosts share", restart, "runs" if one.runs else "stopped"


def plan(migration: Migration) -> tuple[Table, ...]:
    """Return the networks and containers that come along."""
    networks = tuple((one.name, told(one)) for one in migration.networks)
    return (
        Table("networks", "Networks that come along", ("network", "as it is"), networks),
        Table(
            "containers",
            f"Containers: each keeps its ID, its data and its settings; those that run stop for {AWAY}",
            ("node", "container", "networks", "restart", "now"),
            tuple(map(_row, migration.containers)),
        ),
    )
