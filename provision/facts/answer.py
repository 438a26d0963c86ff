"""Parse a node's answer into facts."""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from provision.docker.responses import responses
from provision.facts import run_labels
from provision.facts.model import Clock, Container, Facts, Listener, PathFact, Space, Unit
from provision.facts.run_labels import EVERY_CONTAINER

#: The paths of Docker's API for which an error does not matter to other facts. They concern what runs left behind, or
#: only a swarm's manager with a quorum answers them.
OPTIONAL = frozenset(run_labels.ASKED) - {run_labels.NETWORKS} | {"/nodes"}


def parse(output: str) -> Facts:
    """Parse the output of `script`. Unknown lines are ignored."""
    rows = [line.split("\t") for line in output.splitlines()]
    docker = docker_answers(output)
    containers = docker.get(EVERY_CONTAINER, ())
    return Facts(
        values=_values(rows),
        paths=_paths(rows),
        units=_units(rows),
        users=frozenset(row[1] for row in rows if row[0] == "user"),
        sources={row[1]: row[2] for row in rows if row[0] == "source" and row[2:]},
        tables=frozenset(row[1] for row in rows if row[0] == "table" and row[1:]),
        admitted=frozenset(row[1] for row in rows if row[0] == "admitted" and row[1:]),
        listeners=tuple(_listener(row) for row in rows if row[0] == "port"),
        docker_answers=run_labels.NETWORKS in docker,
        containers=tuple(_container(one) for one in containers if _runs(one)),
        stopped=tuple(_container(one) for one in containers if not _runs(one)),
        containers_known=EVERY_CONTAINER in docker,
        networks=tuple(docker.get(run_labels.NETWORKS, ())),
        marked=(*run_labels.of_docker(docker), *run_labels.of_files(rows)),
        images=frozenset(
            tag.removesuffix(":latest")
            for path, answer in docker.items()
            if path.startswith("/images/") and path.endswith("/json")
            for tag in answer.get("RepoTags") or ()
        ),
        docker=docker,
        answers={row[1]: decoded(row[2]) for row in rows if row[0] == "answer" and row[2:]},
        spaces={row[1]: space for row in rows if row[0] == "space" and len(row) > 2 and (space := _space(*row[2:4]))},
        mtus={row[1]: int(row[2]) for row in rows if row[0] == "address" and row[2:] and row[2].isdigit()},
        resolvers=tuple(dict.fromkeys(row[1] for row in rows if row[0] == "resolver" and row[1:])),
    )


def docker_answers(output: str) -> dict[str, Any]:
    """Return the answers of Docker's API by their path; an empty dictionary if one of them is an error.

    Some answers may be missing: without a quorum, Docker is slow to answer for networks. An error for a path of
    `OPTIONAL` counts as a missing answer.
    """
    for row in (line.split("\t") for line in output.splitlines()):
        if row[0] == "docker" and len(row) > 2:
            paths = row[2:]
            answers = tuple(responses(base64.b64decode(row[1])))[: len(paths)]
            if all(status in (200, 404) or path in OPTIONAL for path, (status, _) in zip(paths, answers, strict=False)):
                return {
                    path: _there(path, json.loads(body))
                    for path, (status, body) in zip(paths, answers, strict=False)
                    if status == 200
                }
    return {}


def _there(path: str, answer: Any) -> Any:
    """Return an answer without containers that Docker has removed: they have no name. See `listed_id` in library.sh."""
    return [one for one in answer if one["Names"]] if path.startswith("/containers/json") else answer


def with_marked(facts: Facts, output: str) -> Facts:
    """Return the facts with what runs left behind: Docker's things from this new output, files as they were."""
    of_files = (one for one in facts.marked if one.kind in ("folder", "volume"))
    return replace(facts, marked=(*run_labels.of_docker(docker_answers(output)), *of_files))


def with_policies(facts: Facts, answers: Mapping[str, Any]) -> Facts:
    """Return the facts with the containers' restart policies, from Docker's answers to `inspect`."""
    told = {
        answer["Id"]: answer.get("HostConfig", {}).get("RestartPolicy", {}).get("Name", "")
        for answer in answers.values()
    }
    containers = (replace(one, restart_policy=told.get(one.identity, "")) for one in facts.containers)
    return replace(facts, containers=tuple(containers))


def with_clock(facts: Facts, asked: float, answered: float) -> Facts:
    """Return the facts with the difference of the node's clock from the controller's.

    `asked`, `answered`: the controller's times in seconds. The node printed its time at the beginning and at the end of
    the script, as in NTP, so that only the network's delay is uncertain.
    """
    began, ended = (_moment(facts.values.get(f"clock-{name}", "")) for name in ("began", "ended"))
    if began is None or ended is None:
        return facts
    return replace(facts, clock=Clock(least=ended[0] - answered, most=began[1] - asked))


def _moment(text: str) -> tuple[float, float] | None:
    """Return the earliest and latest time, in seconds, that a node's `date` may mean. Some print no nanoseconds."""
    found = re.match(r"(\d+)(\.\d+)?", text)
    if not found:
        return None
    return float(found[0]), float(found[0]) + (0 if found[2] else 1)


_ENCODED = ("daemon-json", "docker-failure", "docker-last-words", "docker-options", "docker-unit")


def _values(rows: Sequence[Sequence[str]]) -> dict[str, str]:
    values = {row[1]: row[2] for row in rows if row[0] == "value" and len(row) > 2}
    values["dockerd"] = next((row[2] for row in rows if row[0] == "dockerd"), "")
    uname = dict(zip(("hostname", "kernel", "machine"), values.get("uname", "").split(), strict=False))
    return {name: decoded(value) if name in _ENCODED else value for name, value in values.items()} | uname


_KINDS = {
    "regular file": "file",
    "regular empty file": "file",
    "directory": "folder",
    "symbolic link": "link",
}


def _paths(rows: Sequence[Sequence[str]]) -> dict[str, PathFact]:
    hashes = {row[1]: row[2] for row in rows if row[0] == "hash"}
    links = {row[1]: row[2] for row in rows if row[0] == "link"}
    leads = {row[1]: _path(*row[2:5]) for row in rows if row[0] == "leads"}
    texts = _texts(rows)
    return {
        path: replace(
            _path(kind, mode, owner),
            sha256=hashes.get(path, ""),
            target=links.get(path, ""),
            text=texts.get(path),
            leads_to=leads.get(path),
        )
        for path, kind, mode, owner in (row[1:5] for row in rows if row[0] == "stat")
    }


def _path(kind: str, mode: str, owner: str) -> PathFact:
    return PathFact(_KINDS.get(kind, kind), int(mode, 8), owner)


def _texts(rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the content of each file in the archive that the node printed."""
    texts = {}
    for packed in (row[1] for row in rows if row[0] == "texts"):
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
            for entry in archive:
                if content := archive.extractfile(entry):
                    texts[f"/{entry.name.lstrip('/')}"] = content.read().decode(errors="replace")
    return texts


def _units(rows: Sequence[Sequence[str]]) -> dict[str, Unit]:
    units = {}
    answers = (row[1:] for row in rows if row[0] == "unit")
    for _, answer in groupby(answers, key=lambda row: row == ["next"]):
        shown = {row[0]: row[1] for row in answer if len(row) == 2}
        name = shown.get("Id", "")
        units[name] = Unit(
            state=shown.get("ActiveState", "inactive"),
            enablement=shown.get("UnitFileState", ""),
            process=int(shown.get("MainPID", "0")),
            inputs={row[2]: row[3] for row in rows if row[:2] == ["input", name]},
            outdated=shown.get("NeedDaemonReload") == "yes" and shown.get("NRestarts", "0") != "0",
        )
    return units


def _listener(row: Sequence[str]) -> Listener:
    address, _, port = row[2].rpartition(":")
    return Listener(protocol=row[1], address=address, port=int(port), owner=row[3], unit="".join(row[4:5]))


def _space(text: str, inodes: str = "") -> Space | None:
    words, counts = text.split(), inodes.split()
    if len(words) != 3 or not words[1].isdigit():
        return None  # no findmnt on the node, or a file system without a size
    # A file system that makes inodes as they are needed says that it has none at all.
    counted = len(counts) == 2 and all(count.isdigit() for count in counts) and counts[0] != "0"
    return Space(words[0], int(words[1]), frozenset(words[2].split(",")), int(counts[1]) if counted else None)


def _container(answer: Mapping[str, Any]) -> Container:
    names = [name.lstrip("/") for name in answer["Names"]]
    networks = answer.get("NetworkSettings", {}).get("Networks") or {}
    # A link appears as `/other/alias`. The container's own name is the one without a slash.
    name = next((name for name in names if "/" not in name), names[0])
    return Container(answer["Id"], name, tuple(networks), labels=answer.get("Labels") or {})


def _runs(answer: Mapping[str, Any]) -> bool:
    """Say whether Docker lists a container without being asked for stopped ones."""
    return answer.get("State") in ("running", "paused", "restarting")


def decoded(text: str) -> str:
    """Decode a text from base64."""
    return base64.b64decode(text).decode(errors="replace")
