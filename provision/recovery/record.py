"""The record of a recovery that is under way: on the controller and on each node that is left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from provision import layout
from provision.core.recovery import LostHost, Recovery
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts
from provision.inventory.model import Cluster
from provision.pki import files

#: In the identity's folder.
FILE = "recovery.json"
#: The verb that goes on with a recovery.
VERB = "fab recover"
#: On a node: the recovery is over. Its line in the list of recoveries stays.
CLEAN = f"rm -f {layout.RECOVERY} && sync {layout.STATE}"


def text(recovery: Recovery) -> str:
    """Return the record as JSON."""
    there = {
        "identity": recovery.identity,
        "moment": recovery.moment,
        "keep": recovery.keep.name,
        "others": [node.name for node in recovery.others],
        "lost": [asdict(one) for one in recovery.lost],
    }
    return json.dumps(there, indent=1) + "\n"


def parsed(content: str | bytes, cluster: Cluster, where: str) -> Recovery:
    """Return the recovery from its record. PreflightRefused if that is damaged or names a node that is not there."""
    nodes = {node.name: node for node in cluster.nodes}
    try:
        there = json.loads(content)
        lost = tuple(LostHost(one["name"], one["address"], tuple(one["containers"])) for one in there["lost"])
        others = tuple(nodes[name] for name in there["others"])
        return Recovery(nodes[there["keep"]], lost, others, str(there["identity"]), str(there["moment"]))
    except (ValueError, LookupError, TypeError) as error:
        advice = f"each node that is left has a copy: {layout.RECOVERY}; the inventory has to name these nodes"
        raise PreflightRefused(Problem(f"is no record of a recovery: {error}", where, advice)) from error


def under_way(cluster: Cluster, found: Mapping[str, Facts]) -> Recovery | None:
    """Return the recovery that is under way, by the controller's record or a node's. PreflightRefused."""
    path = cluster.folder / FILE
    try:
        return parsed(path.read_bytes(), cluster, str(path))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PreflightRefused(Problem(f"cannot be read: {error}", str(path))) from error
    shown = ((name, facts.paths[layout.RECOVERY].text) for name, facts in found.items() if _has_record(facts))
    return next((parsed(content, cluster, f"{name}: {layout.RECOVERY}") for name, content in shown if content), None)


def _has_record(facts: Facts) -> bool:
    return layout.RECOVERY in facts.paths


def warnings(cluster: Cluster, found: Mapping[str, Facts]) -> tuple[Problem, ...]:
    """Say that a recovery is under way, if it is, and what to run."""
    if (cluster.folder / FILE).exists():
        return (Problem("a recovery is under way", "cluster", f"{VERB} ends it"),)
    advice = f"{VERB} ends it, best from the controller that began it"
    names = [name for name, facts in found.items() if _has_record(facts)]
    return tuple(Problem("a recovery is under way, by this node's record", name, advice) for name in names)


def refuse(cluster: Cluster, found: Mapping[str, Facts] | None = None) -> None:
    """Raise PreflightRefused while a recovery is under way."""
    if problems := warnings(cluster, found or {}):
        raise PreflightRefused(*problems)


def begin(cluster: Cluster, recovery: Recovery) -> None:
    """Write the record on the controller, durably. PreflightRefused where that fails."""
    try:
        with files.locked(cluster.folder.parent):
            files.make_folder(cluster.folder)
            files.write(cluster.folder / FILE, text(recovery).encode(), 0o600)
            files.sync_folder(cluster.folder)
    except OSError as error:
        raise files.refused(error, cluster.folder) from error


def end(cluster: Cluster) -> None:
    """Remove the record: the recovery is over. PreflightRefused where that fails."""
    if not (cluster.folder / FILE).exists():
        return
    try:
        with files.locked(cluster.folder.parent):
            (cluster.folder / FILE).unlink(missing_ok=True)
            files.sync_folder(cluster.folder)
    except OSError as error:
        raise files.refused(error, cluster.folder) from error
