"""The record of a migration: what there was before it. On the controller its file says that one is under way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from provision.docker.containers import Attachment, Container
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts
from provision.inventory.model import Cluster
from provision.pki import files

T = TypeVar("T")

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
    """A network that hosts share, as it was before. `guessed`: nothing knew it any more but its containers.

    `lost`: what its user chose and the next control plane cannot have.
    """

    name: str
    pools: tuple[Pool, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    guessed: bool = False
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Migration:
    """What there was before a migration. `before`, `after`: the names of the control planes."""

    before: str
    after: str
    networks: tuple[SharedNetwork, ...]
    containers: tuple[Container, ...]

    @property
    def staying(self) -> tuple[Container, ...]:
        """The containers that come back: Docker has removed the others when they ended."""
        return tuple(one for one in self.containers if not one.temporary)

    def of(self, node: str) -> tuple[Container, ...]:
        """Return the containers of a node that come back."""
        return tuple(one for one in self.staying if one.node == node)

    def text(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def parsed(text: str | bytes, where: str) -> Migration:
    """Return the record from its text. PreflightRefused if that is damaged."""
    try:
        there = json.loads(text)
        lists = {
            "networks": tuple(_network(one) for one in there["networks"]),
            "containers": tuple(_container(one) for one in there["containers"]),
        }
        return _made(Migration, {**there, **lists})
    except (ValueError, LookupError, TypeError) as error:
        advice = "each node has a copy: /var/lib/overlay-provision/migration.json"
        raise PreflightRefused(Problem(f"is no record of a migration: {error}", where, advice)) from error


def first(copies: Iterable[tuple[str, str]]) -> Migration | None:
    """Return the record from the first whole copy of these places and texts. PreflightRefused if all are damaged."""
    damaged: PreflightRefused | None = None
    for where, text in copies:
        try:
            if text:
                return parsed(text, where)
        except PreflightRefused as error:
            damaged = damaged or error
    if damaged:
        raise damaged
    return None


def _network(there: dict[str, Any]) -> SharedNetwork:
    pools = tuple(_made(Pool, pool) for pool in there["pools"])
    for pool in pools:
        ip_network(pool.subnet)
    return _made(SharedNetwork, {**there, "pools": pools, "lost": tuple(there.get("lost", ()))})


def _container(there: dict[str, Any]) -> Container:
    attachments = (_made(Attachment, {**one, "aliases": tuple(one["aliases"])}) for one in there["attachments"])
    return _made(Container, {**there, "attachments": tuple(attachments)})


def _made(kind: Callable[..., T], values: Mapping[str, Any]) -> T:
    """Return a value of this kind. TypeError where a field is of a type that it cannot have."""
    made = kind(**values)
    for name, hint in get_type_hints(kind).items():
        here = getattr(made, name)
        (expected, parts) = (get_origin(hint) or hint, get_args(hint))
        inside = (*here, *here.values()) if isinstance(here, Mapping) else here if isinstance(here, tuple) else ()
        if not isinstance(here, expected) or not all(isinstance(one, parts[0]) for one in inside):
            raise TypeError(f"{name} is {here!r:.40}")
    return made


def under_way(cluster: Cluster) -> Migration | None:
    """Return the migration that is under way, by the controller's record. PreflightRefused if it cannot be read."""
    path = cluster.folder / FILE
    try:
        return parsed(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PreflightRefused(Problem(f"cannot be read: {error}", str(path))) from error


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
    files.put(cluster.folder, {FILE: migration.text().encode()})


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
