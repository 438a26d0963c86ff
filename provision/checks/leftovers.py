"""What runs that were killed left on the nodes: found by its label, and removed by the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from docker.errors import APIError

from provision.checks import Outcome
from provision.checks.probes import remove as remove_container
from provision.checks.proof import RUN_LABEL, Proof, passed
from provision.inventory.model import Node
from provision.remote.remotes import in_parallel

if TYPE_CHECKING:
    from docker import APIClient

#: The name under which an image is tagged to prove something; the run's ID is its tag, or the tag's first part.
IMAGE_NAME = "overlay-provision-run"
#: A folder on the node whose name starts so was made to prove something; the run's ID follows.
FOLDER = "/run/overlay-provision.run-"

#: Docker's words for "gone meanwhile" and "somebody uses it".
_NOT_OURS_TO_REMOVE = (403, 404, 409)

_FOLDERS = f'for folder in {FOLDER}*; do [ ! -d "$folder" ] || echo "${{folder#{FOLDER}}}"; done'


def remove(proof: Proof) -> Iterator[Outcome]:
    """Remove them on every node; tell of those nodes only where there was something. What living runs made stays."""
    removed = in_parallel(lambda node: _removed(proof, node), proof.cluster.nodes)
    for node, names in zip(proof.cluster.nodes, removed, strict=True):
        if names:
            yield passed(node.name, f"removed what killed runs had left: {', '.join(names)}")


def _removed(proof: Proof, node: Node) -> list[str]:
    """Remove a node's: containers first, as they use the others. What somebody else uses by now stays."""
    api = proof.clients.docker(node).api
    labelled = {"label": RUN_LABEL}
    containers = [one for one in api.containers(all=True, filters=labelled) if _is_dead(proof, one["Labels"])]
    for one in containers:
        remove_container(proof, node, one["Id"])
    volumes = [one for one in api.volumes(filters=labelled)["Volumes"] or () if _is_dead(proof, one["Labels"])]
    networks = [one for one in api.networks(filters=labelled) if _is_dead(proof, one["Labels"])]
    return [
        *(f"container {one['Names'][0].removeprefix('/')}" for one in containers),
        *(f"volume {one['Name']}" for one in volumes if _went(partial(api.remove_volume, one["Name"]))),
        *(f"network {one['Name']}" for one in networks if _went(partial(api.remove_network, one["Id"]))),
        *(f"image {tag}" for tag in _dead_tags(proof, api) if _went(partial(api.remove_image, tag, noprune=True))),
        *_removed_folders(proof, node),
    ]


def _went(removal: Callable[[], object]) -> bool:
    try:
        removal()
    except APIError as error:
        if error.status_code not in _NOT_OURS_TO_REMOVE:
            raise
        return False
    return True


def _is_dead(proof: Proof, labels: dict[str, str]) -> bool:
    return labels[RUN_LABEL] not in proof.living | {proof.run}


def _dead_tags(proof: Proof, api: APIClient) -> list[str]:
    tags = [
        tag
        for image in api.images(name=IMAGE_NAME)
        for tag in image["RepoTags"] or ()
        if tag.startswith(f"{IMAGE_NAME}:")
    ]
    return [tag for tag in tags if _is_dead(proof, {RUN_LABEL: tag.rpartition(":")[2].partition("-")[0]})]


def _removed_folders(proof: Proof, node: Node) -> list[str]:
    remote = proof.clients.remotes[node.name]
    runs = remote.run(_FOLDERS, what="a look for folders").stdout.split()
    dead = [f"{FOLDER}{run}" for run in runs if _is_dead(proof, {RUN_LABEL: run})]
    if dead:
        remote.run(f"rm -rf -- {' '.join(map(quote, dead))}", what="removing folders")
    return [f"folder {folder}" for folder in dead]
