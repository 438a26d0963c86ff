"""What is so on a node: the script that asks, and the answer as a value."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from provision.node import library

#: Where a unit of ours leaves the hashes of the files that it was last started on.
INPUTS = "/run/overlay-provision"


@dataclass(frozen=True)
class Path:
    """A file, folder or link on a node. `text` is known only of files that may be shown."""

    kind: str
    mode: int
    owner: str
    sha256: str = ""
    target: str = ""
    text: str | None = None


@dataclass(frozen=True)
class Unit:
    """A systemd unit, and the files (path to sha256) that its process was started on."""

    state: str = "inactive"
    enablement: str = ""
    process: int = 0
    reload_needed: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether it is up, or on its way up."""
        return self.state in ("active", "activating", "reloading")


@dataclass(frozen=True)
class Container:
    """A running container, as far as a restart of its daemon matters."""

    name: str
    restart_policy: str
    networks: tuple[str, ...]

    @property
    def comes_back(self) -> bool:
        """Whether Docker starts it again by itself after the daemon was restarted."""
        return self.restart_policy in ("always", "unless-stopped", "on-failure")


@dataclass(frozen=True)
class Listener:
    """Somebody listening on a port."""

    protocol: str
    address: str
    port: int
    owner: str


@dataclass(frozen=True)
class Facts:
    """All that was asked of one node."""

    values: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, Path] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    users: frozenset[str] = frozenset()
    listeners: tuple[Listener, ...] = ()
    docker_answers: bool = False
    containers: tuple[Container, ...] = ()
    networks: tuple[Mapping[str, Any], ...] = ()
    images: frozenset[str] = frozenset()
    members: tuple[Mapping[str, Any], ...] | None = None

    def unit(self, name: str) -> Unit:
        """Return what is known of a unit: one that does not exist is inactive."""
        return self.units.get(name, Unit())


@dataclass(frozen=True)
class Question:
    """What to ask a node beside what is always asked. Secrets are hashed, never shown."""

    paths: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    large: tuple[str, ...] = ()


#: Always asked: what preflight and the templates need to know of a machine.
SURVEY = """
fact value hostname "$(uname -n)"
fact value machine "$(uname -m)"
fact value machine-id "$(cat /etc/machine-id 2>/dev/null)"
fact value kernel "$(uname -r)"
fact value init "$(cat /proc/1/comm)"
fact value root "$(id -u)"
fact value addresses "$(ip -4 -o address 2>/dev/null | while read -r _ _ _ one _; do printf '%s ' "${one%/*}"; done)"
fact value routes "$(ip -4 route show table all type unicast 2>/dev/null | tr '\\n' ';')"
! dockerd=$(command -v dockerd) || stamped dockerd "$dockerd" || fact dockerd "$dockerd" "$(dockerd --version)"
fact value docker-cli "$(command -v docker)"
fact value record "$([ ! -f $state/record ] || echo yes)"
if [ -d /sys/module/vxlan ] || modprobe -n -q vxlan 2>/dev/null ||
    unshare -n ip link add try type vxlan id 1 dstport 0 2>/dev/null; then fact value vxlan yes; fi
fact value etcd-data "$([ -z "$(ls -A /var/lib/etcd 2>/dev/null)" ] || echo yes)"
[ ! -f /etc/docker/daemon.json ] || fact_encoded value daemon-json </etc/docker/daemon.json
systemctl cat docker.service 2>/dev/null | fact_encoded value docker-unit
"""


def script(question: Question) -> str:
    """Return the one script that asks all of it, and changes nothing.

    What takes Docker or etcd a while is asked beside the rest: each pipe's left side runs at once and waits with its
    answer until the right side has given its own.
    """
    calls = [
        ("fact_paths", question.paths),
        ("fact_hashes", question.hashed),
        ("fact_large", question.large),
        ("fact_texts", question.shown),
        ("fact_units", question.units),
        ("fact_ports", [str(port) for port in question.ports]),
    ]
    here = [SURVEY, *(f"{name} {_words(arguments)}" for name, arguments in calls if arguments)]
    here += [f"! id {shlex.quote(user)} >/dev/null 2>&1 || fact user {shlex.quote(user)}" for user in question.users]
    asked = "\n".join(here)
    for beside in (
        "fact_members",
        f"fact_networks {_words(question.networks)}",
        f"fact_containers {_words(map(_tagged, question.images))}",
    ):
        asked = f"{beside} | {{\n{asked}\ncat\n}}"
    return f"{library()}\n{asked}\ntrue\n"


def _tagged(image: str) -> str:
    """Return an image's name in full: with its tag it can be no container's."""
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _words(arguments: Iterable[str]) -> str:
    return " ".join(shlex.quote(argument) for argument in arguments)


def parse(output: str) -> Facts:
    """Read the answer of `script`. Lines it does not know are passed over."""
    rows = [line.split("\t") for line in output.splitlines()]
    return Facts(
        values=_values(rows),
        paths=_paths(rows),
        units=_units(rows),
        users=frozenset(row[1] for row in rows if row[0] == "user"),
        listeners=tuple(_listener(row) for row in rows if row[0] == "port"),
        docker_answers=any(row[:2] == ["docker", "answers"] for row in rows),
        containers=tuple(_container(row) for row in rows if row[0] == "container"),
        networks=tuple(json.loads(_decode(row[2])) for row in rows if row[0] == "network"),
        images=frozenset(row[1].removesuffix(":latest") for row in rows if row[0] == "image"),
        members=_members(rows),
    )


_ENCODED = ("daemon-json", "docker-unit")


def _values(rows: Sequence[Sequence[str]]) -> dict[str, str]:
    values = {row[1]: row[2] for row in rows if row[0] == "value" and len(row) > 2}
    values["dockerd"] = next((row[2] for row in rows if row[0] == "dockerd"), "")
    return {name: _decode(value) if name in _ENCODED else value for name, value in values.items()}


def _paths(rows: Sequence[Sequence[str]]) -> dict[str, Path]:
    hashes = {row[1]: row[2] for row in rows if row[0] == "hash"}
    links = {row[1]: row[2] for row in rows if row[0] == "link"}
    texts = {row[1]: _decode(row[2]) for row in rows if row[0] == "text"}
    kinds = {
        "regular file": "file",
        "regular empty file": "file",
        "directory": "folder",
        "symbolic link": "link",
    }
    return {
        path: Path(
            kind=kinds.get(kind, kind),
            mode=int(mode, 8),
            owner=owner,
            sha256=hashes.get(path, ""),
            target=links.get(path, ""),
            text=texts.get(path),
        )
        for path, kind, mode, owner in (row[1:5] for row in rows if row[0] == "stat")
    }


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
            reload_needed=shown.get("NeedDaemonReload") == "yes",
            inputs={row[2]: row[3] for row in rows if row[:2] == ["input", name]},
        )
    return units


def _listener(row: Sequence[str]) -> Listener:
    address, _, port = row[2].rpartition(":")
    return Listener(protocol=row[1], address=address, port=int(port), owner=row[3])


def _container(row: Sequence[str]) -> Container:
    name, policy, networks = row[1:4]
    return Container(name.lstrip("/"), policy, tuple(filter(None, networks.split(","))))


def _members(rows: Sequence[Sequence[str]]) -> tuple[Mapping[str, Any], ...] | None:
    for row in rows:
        if row[:2] == ["value", "members"] and row[2]:
            return tuple(json.loads(_decode(row[2])).get("members", ()))
    return None


def _decode(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")
