"""What runs made to prove something: found by its mark, the run's ID, where a run was killed and left it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

#: The label of containers, volumes and networks that a run makes to prove something; its value is the run's ID.
RUN_LABEL = "overlay-provision.run"
#: The name under which an image is tagged to prove something; the run's ID is its tag, or the tag's first part.
RUN_IMAGE = "overlay-provision-run"
#: A folder on the node whose name starts so was made to prove something; the run's ID follows.
RUN_FOLDER = "/run/overlay-provision.run-"


@dataclass(frozen=True)
class Marked:
    """One thing that a run made. `identity`: what it is removed by."""

    kind: Literal["container", "volume", "network", "image", "folder"]
    name: str
    identity: str
    run: str


def _filtered(path: str, **filters: str) -> str:
    return f"{path}filters={quote(json.dumps({name: [value] for name, value in filters.items()}))}"


CONTAINERS = _filtered("/containers/json?all=true&", label=RUN_LABEL)
IMAGES = _filtered("/images/json?", reference=RUN_IMAGE)
#: Of Docker's own driver: another may be gone, and answer nobody.
VOLUMES = _filtered("/volumes?", driver="local", label=RUN_LABEL)
NETWORKS = "/networks"

#: What to ask Docker's API. What it does not answer of these, networks aside, hides nothing else.
ASKED = (CONTAINERS, IMAGES, NETWORKS, VOLUMES)

#: Says the run of each folder.
FOLDERS = f'for folder in {RUN_FOLDER}*; do [ ! -d "$folder" ] || fact marked "${{folder#{RUN_FOLDER}}}"; done'


def of_docker(answers: Mapping[str, Any]) -> Iterator[Marked]:
    """Read what Docker's API said, by the path asked."""
    for one in answers.get(CONTAINERS) or ():
        name = one["Names"][0].removeprefix("/") if one["Names"] else one["Id"][:12]
        yield Marked("container", name, one["Id"], one["Labels"][RUN_LABEL])
    for one in (answers.get(VOLUMES) or {}).get("Volumes") or ():
        yield Marked("volume", one["Name"], one["Name"], one["Labels"][RUN_LABEL])
    for one in answers.get(NETWORKS) or ():
        if run := (one.get("Labels") or {}).get(RUN_LABEL):
            yield Marked("network", one["Name"], one["Id"], run)
    for tag in (tag for image in answers.get(IMAGES) or () for tag in image["RepoTags"] or ()):
        name, _, run = tag.rpartition(":")
        if name == RUN_IMAGE:
            yield Marked("image", tag, tag, run.partition("-")[0])


def of_folder(run: str) -> Marked:
    """Return the folder that a run made."""
    return Marked("folder", f"{RUN_FOLDER}{run}", f"{RUN_FOLDER}{run}", run)
