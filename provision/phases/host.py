"""The host: folders, the system user, the etcd release and the links to it."""

from __future__ import annotations

from provision import layout
from provision.inventory.model import Node
from provision.phases import Phase
from provision.resources import Folder, Link, Release, Resource, User
from provision.situation import Situation


class Host(Phase):
    """What has to be on a host before anything is configured."""

    name = "host"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """A record of what was here for every node; etcd where the store is."""
        record = Folder(layout.STATE, 0o700)
        if not node.member:
            return (record,)
        artifact = situation.artifact
        release = Release(
            folder=f"{layout.RELEASES}/{artifact.version}",
            version=artifact.version,
            archive=artifact.path,
            top=artifact.top,
            hashes=tuple(artifact.hashes.items()),
        )
        return (
            record,
            User(layout.USER, layout.DATA),
            Folder(layout.DATA, 0o700, f"{layout.USER}:{layout.USER}"),
            Folder(layout.RELEASES),
            release,
            *(Link(f"/usr/local/bin/{name}", f"{release.folder}/{name}") for name in artifact.hashes),
        )
