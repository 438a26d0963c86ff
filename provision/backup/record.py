"""The record of a restore: its file in the identity's folder says that one is under way."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from provision import layout
from provision.core.saved import Saved
from provision.docker.containers import Container
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts
from provision.inventory.model import Cluster
from provision.pki import files
from provision.recovery import generations

#: In the identity's folder, as long as a restore is under way.
FILE = "restore.json"
VERB = "fab restore FILE"
#: On a node whose former cluster was put aside: the identity of the restore that did so.
MARK = layout.RESTORE


@dataclass(frozen=True)
class Restore:
    """A restore: the archive's checksum, when it was made, and the identity of the restore itself."""

    checksum: str
    moment: str
    identity: str
    #: The containers that ran before it and are not in the archive: they stop when Docker restarts.
    ran: tuple[Container, ...] = ()
    #: The nodes of the restored cluster, once it is set up: from then on only the end of the restore is repeated.
    restored: tuple[str, ...] = ()


def running(node: str, identity: str, name: str) -> Container:
    """Return a container of which no more is known than that it runs: it needs no more than to be started again."""
    return Container(node, identity, name, "", True, "", ())


def under_way(cluster: Cluster) -> Restore | None:
    """Return the restore that is under way, by the controller's record. PreflightRefused if it cannot be read."""
    path = cluster.folder / FILE
    try:
        there = json.loads(path.read_bytes())
        ran = (running(str(one["node"]), str(one["identity"]), str(one["name"])) for one in there.get("ran", ()))
        restored = map(str, there.get("restored", ()))
        return Restore(
            str(there["checksum"]), str(there["moment"]), str(there["identity"]), tuple(ran), tuple(restored)
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        advice = f"rm {path}, then {VERB} begins anew"
        raise PreflightRefused(
            Problem(f"the record of a restore cannot be read: {error}", str(path), advice)
        ) from error


def warnings(cluster: Cluster, found: Mapping[str, Facts]) -> tuple[Problem, ...]:
    """Say that a restore is under way, if one is, and what to run."""
    if there := under_way(cluster):
        what = f"a restore of the backup of {there.moment} (sha256 {there.checksum[:12]}…) is under way"
        return (Problem(what, "cluster", f"{VERB}, with the same file, ends it"),)
    advice = f"{VERB} ends it, from the controller that began it"
    names = generations.being_restored(found)
    return tuple(Problem("a restore is under way, by this node's record", name, advice) for name in names)


def of(cluster: Cluster, saved: Saved) -> Restore:
    """Return the restore that goes on, or a new one. PreflightRefused while one of another archive is under way."""
    there = under_way(cluster)
    if there and there.checksum != saved.checksum:
        what = f"a restore of another backup, that of {there.moment} (sha256 {there.checksum[:12]}…), is under way"
        advice = f"name that file; or, to restore this one in its place: rm {cluster.folder / FILE}"
        raise PreflightRefused(Problem(what, "cluster", advice))
    return there or Restore(saved.checksum, saved.moment, secrets.token_hex(8))


def begin(cluster: Cluster, restore: Restore, ran: Iterable[Container] = ()) -> None:
    """Write the record, durably, with what runs and is not in the archive. PreflightRefused where that fails."""
    known = {one.identity for one in restore.ran}
    restore = replace(restore, ran=(*restore.ran, *(one for one in ran if one.identity not in known)))
    files.put(cluster.folder, {FILE: json.dumps(asdict(restore), indent=1).encode()})


def set_up(cluster: Cluster, restore: Restore, names: Iterable[str]) -> None:
    """Write, durably, that the cluster is set up on these nodes. PreflightRefused where that fails."""
    begin(cluster, replace(restore, restored=tuple(names)))


def end(cluster: Cluster) -> None:
    """Remove the record, if there is one: the restore is over. PreflightRefused where that fails."""
    files.remove(cluster.folder, FILE)
