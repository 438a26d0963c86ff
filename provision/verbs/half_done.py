"""A migration, a recovery or a restore that is under way: every other verb says so, and waits for its end."""

from __future__ import annotations

from collections.abc import Mapping

from provision.backup import record as restore
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts
from provision.inventory.model import Cluster
from provision.migration import record as migration
from provision.recovery import record as recovery

#: The record of each verb that other verbs wait for.
RECORDS = {"migrate": migration, "recover": recovery, "restore": restore}


def problems(cluster: Cluster, found: Mapping[str, Facts], *, verb: str = "") -> tuple[Problem, ...]:
    """Say what is under way beside a verb, by the controller's records and by what nodes hold, and what ends it."""
    records = (record for name, record in RECORDS.items() if name != verb)
    return tuple(problem for record in records for problem in record.warnings(cluster, found))


def refuse(cluster: Cluster, found: Mapping[str, Facts] | None = None, *, verb: str = "") -> None:
    """Raise PreflightRefused while something else than this verb is under way."""
    if there := problems(cluster, found or {}, verb=verb):
        raise PreflightRefused(*there)
