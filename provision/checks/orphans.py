"""Remove what killed runs left on the nodes. The facts list it, by the ID of the run that created it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from shlex import quote

from docker.errors import APIError

from provision.checks.probes import remove as remove_container
from provision.checks.proof import Proof
from provision.core.outcome import Outcome, passed
from provision.facts import Marked
from provision.inventory.model import Node
from provision.remote.remotes import in_parallel

#: Docker's status codes for what is already gone, or in use by somebody else.
_NOT_OURS_TO_REMOVE = (403, 404, 409)


def remove(proof: Proof) -> Iterator[Outcome]:
    """Containers, networks and files that killed runs left on the nodes are removed, unless they are in use."""
    nodes = [node for node in proof.cluster.nodes if proof.left.get(node.name)]
    removed = in_parallel(lambda node: _removed(proof, node), nodes)
    for node, names in zip(nodes, removed, strict=True):
        if names:
            yield passed(node.name, f"removed what killed runs had left: {', '.join(names)}")


def _removed(proof: Proof, node: Node) -> list[str]:
    """Remove a node's orphans, containers first, because they use the others; return what was removed."""
    api = proof.coordinator.docker(node).api
    remote = proof.coordinator.remotes[node.name]

    def remove_folder(path: str) -> bool:
        script = f"[ -d {quote(path)} ] && rm -rf -- {quote(path)}"
        return remote.run(script, what="removing a folder").code == 0

    removals: dict[str, Callable[[str], object]] = {
        "container": lambda identity: remove_container(proof, node, identity),
        "volume": api.remove_volume,
        "network": api.remove_network,
        "image": lambda tag: api.remove_image(tag, noprune=True),
        "folder": remove_folder,
    }
    return [
        f"{kind} {one.name}"
        for kind, removal in removals.items()
        for one in proof.left[node.name]
        if one.kind == kind and _went(removal, one)
    ]


def _went(removal: Callable[[str], object], one: Marked) -> bool:
    """Remove one orphan. Return whether it was there and is gone now."""
    try:
        return removal(one.identity) is not False
    except APIError as error:
        if error.status_code not in _NOT_OURS_TO_REMOVE:
            raise
        return False
