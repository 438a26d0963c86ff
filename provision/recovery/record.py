"""The record of a recovery that is under way: on the controller and on each node that is left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from provision import layout
from provision.core.recovery import LostHost, Recovery
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts
from provision.inventory.model import Cluster
from provision.pki import files
from provision.recovery import generations

#: In the identity's folder.
FILE = "recovery.json"
#: In the identity's folder: the list of recoveries. The nodes that know the last one may be gone with it.
LIST = "recoveries"
#: The verb that goes on with a recovery.
VERB = "fab recover"


def text(recovery: Recovery) -> str:
    """Return the record as JSON."""
    there = {
        "identity": recovery.identity,
        "moment": recovery.moment,
        "keep": recovery.keep.name,
        "others": [node.name for node in recovery.others],
        "apart": [node.name for node in recovery.apart],
        "lost": [asdict(one) for one in recovery.lost],
    }
    return json.dumps(there, indent=1) + "\n"


def parsed(content: str | bytes, cluster: Cluster) -> Recovery | None:
    """Return the recovery from its record; None if that is damaged, or names a node that the inventory does not."""
    nodes = {node.name: node for node in cluster.nodes}
    try:
        there = json.loads(content)
        lost = tuple(LostHost(one["name"], one["address"], tuple(one["containers"])) for one in there["lost"])
        others = tuple(nodes[name] for name in there["others"])
        apart = tuple(nodes[name] for name in there.get("apart", ()))  # not in the record of an earlier version
        return Recovery(nodes[there["keep"]], lost, others, str(there["identity"]), str(there["moment"]), apart)
    except (ValueError, LookupError, TypeError):
        return None


def under_way(cluster: Cluster, found: Mapping[str, Facts]) -> Recovery | None:
    """Return the recovery that is under way: the last one that any node knows, by the record of the node it keeps.

    Where that record is damaged, the controller's counts. The node which is kept gets the record first, and loses it
    first: without it nothing has begun, or all has ended. Other records are left over. PreflightRefused.
    """
    own = _on_controller(cluster, FILE)
    situation = Situation(cluster, facts=found, recoveries=listed(cluster))
    for name, facts in found.items():
        shown = facts.paths.get(layout.RECOVERY)
        for content in (shown.text or "", own) if shown else ():
            there = parsed(content, cluster)
            last = (generations.lines(facts)[-1:], generations.all_lines(situation)[-1:])
            if there and there.keep.name == name and last == ((there.line,), (there.line,)):
                return there
    return None


def _on_controller(cluster: Cluster, name: str) -> bytes:
    path = cluster.folder / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise PreflightRefused(Problem(f"cannot be read: {error}", str(path))) from error


def warnings(cluster: Cluster, found: Mapping[str, Facts]) -> tuple[Problem, ...]:
    """Say that a recovery is under way, if it is, and what to run."""
    if (cluster.folder / FILE).exists():
        return (Problem("a recovery is under way", "cluster", f"{VERB} ends it"),)
    there = under_way(cluster, found)
    advice = f"{VERB} ends it, best from the controller that began it"
    what = "a recovery is under way, by this node's record"
    return (Problem(what, there.keep.name, advice),) if there else ()


def left_over(cluster: Cluster, found: Mapping[str, Facts]) -> tuple[Problem, ...]:
    """Name the nodes with the record of a recovery that is not under way. It counts for nothing."""
    there = under_way(cluster, found)
    what = "the record of a recovery is damaged, or left over from one that has ended: it counts for nothing"
    return tuple(
        Problem(what, name, f"fab provision or {VERB} removes it: {layout.RECOVERY}")
        for name, facts in found.items()
        if layout.RECOVERY in facts.paths and there is None
    )


def begin(cluster: Cluster, recovery: Recovery) -> None:
    """Write the record on the controller, durably. PreflightRefused where that fails."""
    files.put(cluster.folder, {FILE: text(recovery).encode()})


def keep_list(cluster: Cluster, lines: bytes) -> None:
    """Keep the list of recoveries on the controller, durably. PreflightRefused where that fails."""
    files.put(cluster.folder, {LIST: lines})


def listed(cluster: Cluster) -> tuple[str, ...]:
    """Return the list of recoveries that the controller keeps. PreflightRefused if it cannot be read."""
    return tuple(_on_controller(cluster, LIST).decode(errors="replace").splitlines())


def end(cluster: Cluster) -> None:
    """Remove the record: the recovery is over. PreflightRefused where that fails."""
    files.remove(cluster.folder, FILE)


def forget(cluster: Cluster) -> None:
    """Remove the record and the list: no node has data of the cluster any more. PreflightRefused where that fails."""
    files.remove(cluster.folder, FILE, LIST)
