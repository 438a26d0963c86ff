"""The room that the release and the store take on a node."""

from __future__ import annotations

from collections.abc import Mapping

from provision import layout
from provision.checks.sizes import MB, UNPACKED, size_of
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.planes.etcd import paths
from provision.planes.etcd.local import release_for

#: A file of etcd's log has 64 MB from the start (wal.SegmentSizeBytes).
SEGMENT = 64 * MB
#: etcd keeps five of them (--max-wals) and makes the next one ahead.
SEGMENTS = 6


def needs(situation: Situation, node: Node) -> Mapping[str, tuple[str, int]]:
    """Return the folders that etcd is written to: for what, and the bytes still to come. Only members have a log."""
    found, release = situation.of(node), release_for(situation, node)
    there = f"{paths.RELEASES}/{release.version}/etcd" in found.paths
    archive = 0 if there else size_of(release.path)
    folders = {layout.STATE: ("uploads", archive), paths.RELEASES: ("the etcd release", archive * UNPACKED)}
    if node.member:
        # A store at work has most of its log already.
        segments = 2 if found.answers.get("store-data") else SEGMENTS
        folders[paths.DATA] = ("etcd's log", segments * SEGMENT)
    return folders
