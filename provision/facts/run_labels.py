"""What runs made to prove something: found by its mark, the run's ID, where a run was killed and left it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

#: The label of containers and networks that a run makes to prove something; its value is the run's ID.
RUN_LABEL = "overlay-provision.run"
#: The name under which an image is tagged to prove something; the run's ID is its tag, or the tag's first part.
RUN_IMAGE = "overlay-provision-run"
#: A folder on the node, or a volume, whose name starts so was made to prove something; the run's ID follows.
RUN_FOLDER = "/run/overlay-provision.run-"
RUN_VOLUME = "overlay-provision-run-"


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
NETWORKS = "/networks"

#: What to ask Docker's API. What it does not answer of these, networks aside, hides nothing else.
ASKED = (CONTAINERS, IMAGES, NETWORKS)

#: Looks for the others in files: of volumes Docker asks whoever may bring some, and may wait long for one that is gone.
LOOK = f"""
for found in {RUN_FOLDER}*; do [ ! -d "$found" ] || fact marked folder "$found"; done
for found in "$docker"/volumes/{RUN_VOLUME}*; do [ ! -d "$found" ] || fact marked volume "${{found##*/}}"; done
"""


def of_docker(answers: Mapping[str, Any]) -> Iterator[Marked]:
    """Read what Docker's API said, by the path asked."""
    for one in answers.get(CONTAINERS) or ():
        name = one["Names"][0].removeprefix("/") if one["Names"] else one["Id"][:12]
        yield Marked("container", name, one["Id"], one["Labels"][RUN_LABEL])
    for one in answers.get(NETWORKS) or ():
        if run := (one.get("Labels") or {}).get(RUN_LABEL):
            yield Marked("network", one["Name"], one["Id"], run)
    for tag in (tag for image in answers.get(IMAGES) or () for tag in image["RepoTags"] or ()):
        name, _, run = tag.rpartition(":")
        if name == RUN_IMAGE:
            yield Marked("image", tag, tag, run.partition("-")[0])


def of_files(rows: Iterable[Sequence[str]]) -> Iterator[Marked]:
    """Read what `LOOK` said."""
    for _, kind, name in (row for row in rows if row[0] == "marked" and len(row) == 3):
        if kind == "folder":
            yield Marked("folder", name, name, name.removeprefix(RUN_FOLDER))
        if kind == "volume":
            yield Marked("volume", name, name, name.removeprefix(RUN_VOLUME).partition("-")[0])
