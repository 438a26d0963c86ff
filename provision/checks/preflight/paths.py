"""The paths on a node that become ours: what is there already, and where links lead."""

from __future__ import annotations

from collections.abc import Iterator

from provision import layout
from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.core.resource import Resource
from provision.resources import File, Folder, Link


@check(PREFLIGHT)
def paths(view: NodeView) -> Iterator[Outcome]:
    """Each folder of ours is a folder or a link to one, and each file no folder: nothing could be put there."""
    if view.node in view.situation.cluster.absent:
        return
    whole = view.plane.whole(view.situation)
    for phase in view.plane.phases:
        for resource in phase.resources(whole, view.node):
            yield from _obstructed(view, resource)


def _obstructed(view: NodeView, resource: Resource) -> Iterator[Outcome]:
    if not isinstance(resource, File | Folder | Link) or resource.path not in view.facts.paths:
        return
    there = view.facts.paths[resource.path]
    is_folder = there.followed.kind == "folder"
    if isinstance(resource, Folder) and there.kind == "link" and there.leads_to is None:
        yield view.failed(
            f"{resource.path} is a link to {there.target}, which is not there",
            advice=f"mount the disk that it is on, or make the folder: mkdir -p {there.target}",
        )
    elif isinstance(resource, Folder) and not is_folder:
        yield view.failed(
            f"{resource.path} is a {there.followed.kind}, and a folder has to be there",
            advice=f"move it away: mv {resource.path} {resource.path}.before",
        )
    elif not isinstance(resource, Folder) and is_folder:
        yield view.failed(
            f"{resource.path} is a folder, and a file has to be there",
            advice=f"move it away: mv {resource.path} {resource.path}.before",
        )


@check(PREFLIGHT)
def units_at_boot(view: NodeView) -> Iterator[Outcome]:
    """The folder of Docker's drop-ins is on the file system of /etc: systemd reads it before others are mounted."""
    folder = layout.DOCKER_DROP_IN_FOLDER
    first, there = (view.facts.spaces.get(path) for path in ("/etc", folder))
    if first and there and first.mount != there.mount:
        yield view.failed(
            f"{folder} is on the file system that is mounted at {there.mount}: at boot systemd reads it before that is "
            "mounted, and would start dockerd without our settings",
            advice=f"make it a folder on the file system of /etc: cp -aL {folder} {folder}.new, and put that there",
        )
