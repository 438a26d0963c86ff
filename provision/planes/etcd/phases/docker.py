"""dockerd on the store: its drop-in, the programs beside it, its restart, and the bridge out of its overlays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain, combinations, product
from typing import TYPE_CHECKING

from provision import layout
from provision.core.phase import Phase, Wave, one_by_one
from provision.core.plan import Change
from provision.core.situation import Situation
from provision.docker.hardening import defaults
from provision.docker.vendor import SOCKETS, Vendor
from provision.facts import INPUTS, Facts
from provision.inventory.model import Node
from provision.network.subnets import gateway_bridge
from provision.planes.etcd import leaving, membership, paths, ports
from provision.planes.etcd.coordinator import opened
from provision.planes.etcd.joining import joined
from provision.planes.etcd.node import DOCKER_STORE, MEND, program
from provision.planes.etcd.phases.pki import docker_files, leaf_files, turned_with_docker
from provision.resources import (
    File,
    Folder,
    GatewayBridge,
    HeldPackage,
    Resource,
    Service,
    docker_packages,
    packet_rules,
)
from provision.templates import render

if TYPE_CHECKING:
    from provision.core.plane import Coordinator

#: Why Docker's packages are held.
NO_STORE = "Docker 23 has no cluster store"

WAITS = "waits for the next restart"
MOVES = "joins the store after a minute, when the others have forgotten its old address"


#: From so many nodes on dockerds join the store one after another: of fewer no two pairs can part (docker_store.sh).
NODES_IN_TURN = 4

#: So few members that every list of some of them is tried: 127 lists of seven.
FEW_MEMBERS = 7


def joins_when_it_starts(facts: Facts) -> bool:
    """Say whether a host's dockerd is on the store, or takes it up when it starts."""
    return layout.DOCKER_DROP_IN in facts.paths or bool(facts.unit(layout.DOCKER_UNIT).inputs)


class Docker(Phase):
    """The vendor's own command line and configuration, with the cluster store added."""

    name = "docker"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return certificates, the list of members, the program that takes it up, the drop-in, and the services.

        The bridge needs no store: it is made while that elects its leader. Nothing before members that leave have left:
        a dockerd that joins greets one neighbour, once, and one that leaves may not let it in.
        """
        if situation.guests:
            return ()
        certificates = docker_files(situation, node)
        safety = File(layout.DOCKER_HARDENING, defaults(situation.cluster.hardening, _vendor(situation, node).flags))
        read = (*certificates, safety)
        watched = (layout.DOCKER_DROP_IN, paths.DOCKER_STORE, *(file.path for file in read))
        # The first is started with dockerd, which wants it, and anew when dockerd is.
        *join_files, join = _beside(
            situation, program(*DOCKER_STORE), paths.STORE_PROGRAM, paths.JOIN_UNIT, paths.JOIN_UNIT_FILE
        )
        *mend_files, mend = _beside(
            situation, program(*MEND), layout.MEND_PROGRAM, layout.MEND_UNIT, layout.MEND_UNIT_FILE
        )
        return (
            *_held(situation, node),
            Folder(layout.DOCKER),
            Folder(paths.DOCKER_PKI, 0o700),
            *(file for place in turned_with_docker(situation, node) for file in leaf_files(situation, place)),
            *certificates,
            Folder(layout.DOCKER_DROP_IN_FOLDER),
            Folder(layout.PROGRAMS),
            File(paths.DOCKER_STORE, _store_file(situation, node), update_note=WAITS),
            safety,
            *join_files,
            *mend_files,
            File(layout.DOCKER_DROP_IN, self._drop_in(situation, node, watched, member=node.member)),
            self._service(situation, node, watched, read),
            join,
            mend,
            GatewayBridge(gateway_bridge(situation, node)),
        )

    def _service(self, situation: Situation, node: Node, watched: Sequence[str], read: Sequence[File]) -> Service:
        """Return dockerd, with what it may have been started on."""
        fit = {file.path: file.fit for file in read}
        # Whether the node is a member changes what is started beside dockerd, not dockerd.
        drop_ins = (self._drop_in(situation, node, watched, member=member) for member in (False, True))
        fit[layout.DOCKER_DROP_IN] = frozenset(hashlib.sha256(content).hexdigest() for content in drop_ins)
        fit[paths.DOCKER_STORE] = _store_files(situation, node) | _started_on(situation, node)
        return Service(
            layout.DOCKER_UNIT,
            tuple((path, fit[path]) for path in watched),
            seconds=120,
            stops_containers=True,
            restart_costs=MOVES if _moves(situation, node) else "",
            gone=_places_gone(situation, node) or packet_rules.gone(situation.of(node)),
        )

    def _drop_in(self, situation: Situation, node: Node, watched: Sequence[str], *, member: bool) -> bytes:
        return render(
            "etcd/docker.conf.j2",
            cluster=situation.cluster.name,
            node=node,
            member=member,
            vendor=vendor_command(_vendor(situation, node)),
            program=paths.STORE_PROGRAM,
            join_unit=paths.JOIN_UNIT,
            config=layout.DOCKER_RUN_CONFIG,
            pki=paths.DOCKER_PKI,
            docker_port=ports.DOCKER_PORT,
            inputs=watched,
            inputs_folder=INPUTS,
        )

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """A daemon that is in the cluster already restarts alone."""
        return one_by_one(situation, changes, layout.DOCKER_UNIT)

    def before(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """A daemon on the store is not restarted without a quorum: it would be back without it, and its networks.

        One that is new greets a neighbour that the store knows: only nodes may be among them.
        """
        started = [node for node in wave if situation.of(node).unit(layout.DOCKER_UNIT).inputs]
        if membership.is_running(situation) and len(started) < len(wave):
            opened(coordinator).forget_strangers()
        if started:
            coordinator.await_quorum("before dockerd starts on " + ", ".join(node.name for node in wave))

    def after(self, situation: Situation, coordinator: Coordinator, wave: Wave) -> None:
        """They are on the store. One that bootstraps has no quorum yet: planes/etcd/phases/quorum.py waits then."""
        if membership.is_running(situation):
            coordinator.remotes.each(joined, wave)


def _held(situation: Situation, node: Node) -> tuple[HeldPackage, ...]:
    """Return the packages of Docker's programs, which no upgrade may replace."""
    wanted = docker_packages(situation.of(node)) if situation.cluster.docker_engine.hold else ()
    return tuple(HeldPackage(name, NO_STORE) for name in wanted)


def _beside(situation: Situation, content: bytes, path: str, unit: str, unit_path: str) -> tuple[File, File, Service]:
    """Return a program that stays beside dockerd, the file of its unit, and the service."""
    cluster = situation.cluster.name
    inputs = (path, unit_path)
    text = render(f"etcd/{unit}.j2", cluster=cluster, program=path, unit=unit, inputs=inputs, inputs_folder=INPUTS)
    files = File(path, content, 0o755), File(unit_path, text)
    return (*files, Service(unit, tuple((file.path, file.fit) for file in files), waited_for=False))


def _places_gone(situation: Situation, node: Node) -> str:
    """Say what a dockerd has lost that is still on the store of a cluster that has given its host up."""
    is_on_it = bool(situation.of(node).answers.get("store-in-use", "").strip())
    return "its containers' places in the store" if is_on_it and leaving.is_given_up(situation, node) else ""


def _vendor(situation: Situation, node: Node) -> Vendor:
    return Vendor.of(situation.of(node).values)


def vendor_command(vendor: Vendor) -> str:
    """Return dockerd's command line, with a socket: beside our address, dockerd would have none that it is not told of.

    systemd's is preferred: dockerd deletes one of its own when it stops, and systemd's then leads nowhere.
    """
    command = vendor.command
    if any(socket in vendor.flags for socket in ("fd://", *SOCKETS)):
        return command
    return f"{command} -H {'fd://' if vendor.has_socket else SOCKETS[0]}"


def _endpoints(situation: Situation, node: Node) -> tuple[str, ...]:
    members = sorted(situation.cluster.members, key=lambda member: member != node)
    return tuple(f"{member.address}:{ports.STORE_PORT}" for member in members)


def _earlier(endpoints: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return every list that names some of the members: a daemon started on one of them is on the right store.

    Of many members there are too many lists: then only the whole one, beside the list in use (`_started_on`).
    """
    sizes = range(1 if len(endpoints) <= FEW_MEMBERS else len(endpoints), len(endpoints) + 1)
    return tuple(chain.from_iterable(combinations(endpoints, size) for size in sizes))


def _store_in_use(situation: Situation, node: Node) -> tuple[str, str, str]:
    """Return the members on which dockerd was started, a space, and what it announces; empty if it is on no store."""
    return situation.of(node).answers.get("store-in-use", "").strip().partition(" ")


def _moves(situation: Situation, node: Node) -> bool:
    """Return whether dockerd is on the store at another address than that of the inventory."""
    return _store_in_use(situation, node)[2] not in ("", f"{node.address}:{ports.DOCKER_PORT}")


def _started_on(situation: Situation, node: Node) -> frozenset[str]:
    """Return the hash of the list that dockerd was started on, where it uses the store through a member of today.

    Members have left since then. It finds the others, and takes up the shorter list at its next restart.
    """
    facts = situation.of(node)
    members, _, advertised = _store_in_use(situation, node)
    in_use = set(members.split(","))
    if advertised != f"{node.address}:{ports.DOCKER_PORT}" or in_use.isdisjoint(_endpoints(situation, node)):
        return frozenset()
    return frozenset(filter(None, [facts.unit(layout.DOCKER_UNIT).inputs.get(paths.DOCKER_STORE)]))


def _store_file(
    situation: Situation, node: Node, endpoints: tuple[str, ...] | None = None, turns: bool | None = None
) -> bytes:
    """Return the list of members, and how dockerd joins: as it is to be, or as it may have been."""
    return render(
        "etcd/store.env.j2",
        endpoints=_endpoints(situation, node) if endpoints is None else endpoints,
        advertise=f"{node.address}:{ports.DOCKER_PORT}",
        turns=len(situation.cluster.nodes) >= NODES_IN_TURN if turns is None else turns,
        config=_vendor(situation, node).config,
    )


def _store_files(situation: Situation, node: Node) -> frozenset[str]:
    """Return the hashes of the lists that name some of the members: a daemon started on one is on the right store."""
    lists = product(_earlier(_endpoints(situation, node)), (False, True))
    return frozenset(hashlib.sha256(_store_file(situation, node, *one)).hexdigest() for one in lists)
