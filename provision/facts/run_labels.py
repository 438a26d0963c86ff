"""The run's ID in labels and names, by which a later run recognises what a killed run's checks left behind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

#: The label of containers and networks that a run's checks create; its value is the run's ID.
RUN_LABEL = "overlay-provision.run"
#: The name of images that a run's checks tag; the tag is the run's ID, or begins with it.
RUN_IMAGE = "overlay-provision-run"
#: The beginning of the names of folders and volumes that a run's checks create; the run's ID follows.
RUN_FOLDER = "/run/overlay-provision.run-"
RUN_VOLUME = "overlay-provision-run-"


@dataclass(frozen=True)
class Marked:
    """One thing that a run's check created. `identity`: the ID, name or path by which it is removed."""

    kind: Literal["container", "volume", "network", "image", "folder"]
    name: str
    identity: str
    run: str


def _filtered(path: str, **filters: str) -> str:
    return f"{path}filters={quote(json.dumps({name: [value] for name, value in filters.items()}))}"


CONTAINERS = _filtered("/containers/json?all=true&", label=RUN_LABEL)
IMAGES = _filtered("/images/json?", reference=RUN_IMAGE)
NETWORKS = "/networks"
#: The path that asks for all containers, whoever created them.
EVERY_CONTAINER = "/containers/json?all=true"

#: The paths to ask Docker's API for.
ASKED = (CONTAINERS, IMAGES, NETWORKS)

#: Find folders and volumes on disk. Docker's API is too slow for volumes: it may wait for a plugin that is gone.
LOOK = f"""
for found in {RUN_FOLDER}*; do [ ! -d "$found" ] || fact marked folder "$found"; done
for found in "$docker"/volumes/{RUN_VOLUME}*; do [ ! -d "$found" ] || fact marked volume "${{found##*/}}"; done
"""


def of_docker(answers: Mapping[str, Any]) -> Iterator[Marked]:
    """Yield the containers, networks and images of runs from the answers of Docker's API."""
    for one in answers.get(CONTAINERS) or ():
        yield Marked("container", one["Names"][0].removeprefix("/"), one["Id"], one["Labels"][RUN_LABEL])
    for one in answers.get(NETWORKS) or ():
        if run := (one.get("Labels") or {}).get(RUN_LABEL):
            yield Marked("network", one["Name"], one["Id"], run)
    for tag in (tag for image in answers.get(IMAGES) or () for tag in image["RepoTags"] or ()):
        name, _, run = tag.rpartition(":")
        if name == RUN_IMAGE:
            yield Marked("image", tag, tag, run.partition("-")[0])


def of_files(rows: Iterable[Sequence[str]]) -> Iterator[Marked]:
    """Yield the folders and volumes of runs from the output of `LOOK`."""
    for _, kind, name in (row for row in rows if row[0] == "marked" and len(row) == 3):
        if kind == "folder":
            yield Marked("folder", name, name, name.removeprefix(RUN_FOLDER))
        if kind == "volume":
            yield Marked("volume", name, name, name.removeprefix(RUN_VOLUME).partition("-")[0])
