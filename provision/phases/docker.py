"""dockerd on the store: its drop-in and its restart, never without a quorum write just before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import TYPE_CHECKING

from provision import layout
from provision.facts import INPUTS
from provision.inventory.model import Node
from provision.phases import Phase, Wave, one_by_one
from provision.phases.pki import docker_files
from provision.plan import Change
from provision.resources import File, Folder, Resource, Service
from provision.situation import Situation
from provision.templates import render

if TYPE_CHECKING:
    from provision.api import Clients

WAITS = "waits for the next restart"


class Docker(Phase):
    """The vendor's own command line, with the cluster store added."""

    name = "docker"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the drop-in, the list of members and the service."""
        read = docker_files(situation, node)
        watched = (layout.DOCKER_DROP_IN, layout.DOCKER_STORE, *(file.path for file in read))
        drop_in = File(layout.DOCKER_DROP_IN, self._drop_in(situation, node, watched))
        store = File(layout.DOCKER_STORE, _store_file(_endpoints(situation, node)), update_note=WAITS)
        fit = {file.path: file.fit for file in (*read, drop_in)}
        fit[layout.DOCKER_STORE] = frozenset(
            hashlib.sha256(_store_file(endpoints)).hexdigest() for endpoints in _earlier(_endpoints(situation, node))
        )
        service = Service(
            layout.DOCKER_UNIT,
            tuple((path, fit[path]) for path in watched),
            seconds=120,
            stops_containers=True,
        )
        return (Folder(layout.DOCKER_DROP_IN_FOLDER), store, drop_in, service)

    def _drop_in(self, situation: Situation, node: Node, watched: Sequence[str]) -> bytes:
        return render(
            "docker.conf.j2",
            cluster=situation.cluster.name,
            node=node,
            vendor=vendor_command(situation.of(node).values.get("docker-unit", "")),
            store=layout.DOCKER_STORE,
            pki=layout.DOCKER_PKI,
            docker_port=layout.DOCKER_PORT,
            inputs=watched,
            inputs_folder=INPUTS,
        )

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """A daemon that is in the cluster already restarts alone."""
        return one_by_one(situation, changes, layout.DOCKER_UNIT)

    def before(self, situation: Situation, clients: Clients, wave: Wave) -> None:
        """Wait for a quorum write: a daemon that starts without one hangs without limit."""
        clients.wait_for_quorum("before dockerd starts on " + ", ".join(node.name for node in wave))


def vendor_command(unit: str) -> str:
    """Return the command line of `systemctl cat docker.service` without our drop-in, with `-H fd://` in it."""
    commands: list[str] = []
    for section in re.split(r"(?m)^# (?=/)", unit):
        if section.startswith(layout.DOCKER_DROP_IN):
            continue
        for command in re.findall(r"(?m)^ExecStart=(.*)$", section.replace("\\\n", " ")):
            commands = [*commands, command.strip()] if command.strip() else []
    command = re.sub(r"\s+", " ", commands[-1]) if commands else "/usr/bin/dockerd"
    return command if "fd://" in command else f"{command} -H fd://"


def _endpoints(situation: Situation, node: Node) -> tuple[str, ...]:
    members = sorted(situation.cluster.members, key=lambda member: member != node)
    return tuple(f"{member.address}:{layout.STORE_PORT}" for member in members)


def _earlier(endpoints: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return every list that names some of the members: a daemon started on one of them is on the right store."""
    sizes = range(1, len(endpoints) + 1)
    return tuple(chain.from_iterable(combinations(endpoints, size) for size in sizes))


def _store_file(endpoints: tuple[str, ...]) -> bytes:
    return render("store.env.j2", endpoints=endpoints)
