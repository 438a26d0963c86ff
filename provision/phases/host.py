"""The host: folders, the system user of etcd, its release and the links to it."""

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
        """A record of what was here and the release for every node: docker-store asks with etcdctl. A user for etcd."""
        record = Folder(layout.STATE, 0o700)
        artifact = situation.artifact
        release = Release(
            folder=f"{layout.RELEASES}/{artifact.version}",
            version=artifact.version,
            archive=artifact.path,
            top=artifact.top,
            hashes=tuple(artifact.hashes.items()),
        )
        member = (User(layout.USER, layout.DATA), Folder(layout.DATA, 0o700, f"{layout.USER}:{layout.USER}"))
        return (
            record,
            *(member if node.member else ()),
            Folder(layout.RELEASES),
            release,
            *(Link(f"/usr/local/bin/{name}", f"{release.folder}/{name}") for name in artifact.hashes),
        )
