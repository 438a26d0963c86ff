"""What a backup has of the store: the keys of its second version, which Docker uses, and those of the third."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from provision.errors import PreflightRefused, Problem, Unanswered

if TYPE_CHECKING:
    from provision.planes.etcd.coordinator import EtcdCoordinator

#: In the archive: the keys that Docker and users have, by version of the API, and etcd's own snapshot of the third.
KEYS, SNAPSHOT = "etcd/keys.json", "etcd/snapshot.db"


def saved_files(coordinator: EtcdCoordinator) -> Mapping[str, bytes]:
    """Read the keys through the quorum, each version at one moment. PreflightRefused if no member answers."""
    try:
        store = coordinator.store()
        v2 = dict(leaves(store.get("/") or {}))
        v3 = coordinator.v3(store.node, lambda client: list(client.get_all()))
        snapshot = io.BytesIO()
        coordinator.v3(store.node, lambda client: client.snapshot(snapshot))
    except Unanswered as error:
        advice = "fab status shows who answers; the keys are read through a majority of the members"
        raise PreflightRefused(Problem(f"the store cannot be read: {error}", "cluster", advice)) from error
    lasting = {_text(meta.key): _text(value) for value, meta in v3 if not meta.lease_id}
    text = json.dumps({"v2": v2, "v3": lasting}, indent=1).encode()
    return {KEYS: text, SNAPSHOT: snapshot.getvalue()}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def leaves(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key and value at or below a node of the v2 tree, but those that end by themselves (TTL). Pure."""
    if "ttl" in node:
        return
    if node.get("dir"):
        for one in node.get("nodes", ()):
            yield from leaves(one)
    elif "key" in node:
        yield str(node["key"]), str(node.get("value", ""))
