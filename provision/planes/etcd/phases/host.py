"""The host: folders, the system user of etcd, its release and the links to it."""

from __future__ import annotations

from provision import layout
from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.planes.etcd import paths
from provision.planes.etcd.local import release_for
from provision.planes.etcd.resources import Release
from provision.resources import Folder, Link, Resource, User


class Host(Phase):
    """What has to be on a host before anything is configured."""

    name = "host"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """A record of what was here and the release for every node: docker-store asks with etcdctl. A user for etcd."""
        record = Folder(layout.STATE, 0o700)
        artifact = release_for(situation, node)
        release = Release(
            folder=f"{paths.RELEASES}/{artifact.version}",
            version=artifact.version,
            archive=artifact.path,
            top=artifact.top,
            hashes=tuple(artifact.hashes.items()),
        )
        member = (User(paths.USER, paths.DATA), Folder(paths.DATA, 0o700, f"{paths.USER}:{paths.USER}"))
        return (
            record,
            *(member if node.member else ()),
            Folder(paths.RELEASES),
            release,
            *(Link(f"/usr/local/bin/{name}", f"{release.folder}/{name}") for name in artifact.hashes),
        )
