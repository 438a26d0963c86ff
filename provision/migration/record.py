"""The record of a migration: what there was before it. On the controller its file says that one is under way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from provision.docker.containers import Attachment, Container
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts
from provision.inventory.model import Cluster
from provision.pki import files

#: In the identity's folder: the record, as long as the migration is under way.
FILE = "migration.json"
#: In the identity's folder: what the former control plane needed, and the record, after the migration.
ASIDE = "before-migration"
#: The verb that goes on with a migration.
VERB = "fab migrate"


@dataclass(frozen=True)
class Pool:
    """Addresses of a network. `gateway`, `range`: empty if nobody chose them."""

    subnet: str
    gateway: str = ""
    range: str = ""


@dataclass(frozen=True)
class SharedNetwork:
    """A network that hosts share, as it was before. `guessed`: nothing knew it any more but its containers."""

    name: str
    pools: tuple[Pool, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    guessed: bool = False


@dataclass(frozen=True)
class Migration:
    """What there was before a migration. `before`, `after`: the names of the control planes."""

    before: str
    after: str
    networks: tuple[SharedNetwork, ...]
    containers: tuple[Container, ...]

    def of(self, node: str) -> tuple[Container, ...]:
        """Return the containers of a node."""
        return tuple(one for one in self.containers if one.node == node)

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def parsed(text: str, where: str) -> Migration:
    """Return the record from its text. PreflightRefused if that is damaged."""
    try:
        there = json.loads(text)
        return Migration(
            there["before"],
            there["after"],
            tuple(_network(one) for one in there["networks"]),
            tuple(_container(one) for one in there["containers"]),
        )
    except (ValueError, LookupError, TypeError) as error:
        advice = "each node has a copy: /var/lib/overlay-provision/migration.json"
        raise PreflightRefused(Problem(f"is no record of a migration: {error}", where, advice)) from error


def _network(there: dict[str, Any]) -> SharedNetwork:
    return SharedNetwork(**{**there, "pools": tuple(Pool(**pool) for pool in there["pools"])})


def _container(there: dict[str, Any]) -> Container:
    attachments = (Attachment(**{**one, "aliases": tuple(one["aliases"])}) for one in there["attachments"])
    return Container(**{**there, "attachments": tuple(attachments)})


def under_way(cluster: Cluster) -> Migration | None:
    """Return the migration that is under way, by the controller's record. PreflightRefused if it cannot be read."""
    path = cluster.folder / FILE
    try:
        return parsed(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PreflightRefused(Problem(f"cannot be read: {error}", str(path))) from error


def refuse(cluster: Cluster, found: Mapping[str, Facts] | None = None) -> None:
    """Raise PreflightRefused while a migration is under way, by the controller's record or by what a node holds."""
    if problems := warnings(cluster, found or {}):
        raise PreflightRefused(*problems)


def warnings(cluster: Cluster, found: Mapping[str, Facts]) -> tuple[Problem, ...]:
    """Say that a migration is under way, if it is, and what to run."""
    there = under_way(cluster)
    if there:
        return (
            Problem(f"a migration from {there.before} to {there.after} is under way", "cluster", f"{VERB} ends it"),
        )
    advice = f"{VERB} ends it, best from the controller that began it"
    names = [name for name, facts in found.items() if facts.values.get("migration")]
    return tuple(Problem("a migration is under way, by this node's record", name, advice) for name in names)


def begin(cluster: Cluster, migration: Migration) -> None:
    """Write the record on the controller, durably. PreflightRefused where that fails."""
    try:
        with files.locked(cluster.folder.parent):
            files.make_folder(cluster.folder)
            files.write(cluster.folder / FILE, migration.text().encode(), 0o600)
            files.sync_folder(cluster.folder)
    except OSError as error:
        raise files.refused(error, cluster.folder) from error


def end(cluster: Cluster, *kept: str) -> None:
    """Put the record aside; the migration is over then. Before that, put aside what the former control plane kept.

    `kept`: the names of the files that stay in the identity's folder. PreflightRefused where that fails.
    """
    try:
        with files.locked(cluster.folder.parent):
            aside = cluster.folder / ASIDE
            aside.mkdir(mode=0o700, exist_ok=True)
            others = sorted(one for one in cluster.folder.iterdir() if one.name not in (*kept, ASIDE, FILE))
            for path in (*others, cluster.folder / FILE):
                if path.exists():
                    _put_aside(path, aside / path.name)
            files.sync_folder(aside)
            files.sync_folder(cluster.folder)
    except OSError as error:
        raise files.refused(error, cluster.folder) from error


def _put_aside(path: Path, place: Path) -> None:
    """Move a file or folder. One of an earlier migration, from before a reset, gives way."""
    if place.is_dir():
        shutil.rmtree(place)
    path.replace(place)
