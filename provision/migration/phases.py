"""The phases of a migration: nodes leave the former control plane; under the next one, containers come back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Action, Change
from provision.core.plane import Plane
from provision.core.resource import Difference, Resource, call
from provision.core.situation import Situation
from provision.docker.client import retry
from provision.docker.containers import Attachment, Container
from provision.errors import Problem, StepFailed
from provision.facts import Facts
from provision.inventory.model import Node
from provision.migration import nodes
from provision.migration.nodes import Stage
from provision.migration.record import VERB, Migration, Pool, SharedNetwork
from provision.network.subnets import ipv4, subnets_of
from provision.node import library
from provision.phases.networks import Networks
from provision.waiting import wait_for

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from docker import DockerClient

    from provision.core.plane import Coordinator

#: Seconds in which Docker gives a network its subnets, after it has created the network. Milliseconds as a rule.
ALLOCATION_SECONDS = 20.0


def leaving(before: Plane) -> Plane:
    """Return the former control plane with the phases in which nodes leave it."""
    plane = copy.copy(before)
    plane.phases = (Stop(before), Leave(before))
    return plane


def entering(after: Plane, migration: Migration) -> Plane:
    """Return the next control plane with the phases in which networks and containers come back.

    The networks come before those that only the inventory has. Of the containers, those whose users chose an address
    come before all else that takes one.
    """
    (place,) = (number for number, phase in enumerate(after.phases) if isinstance(phase, Networks))
    come_back = SameNetworks(migration), after.phases[place], Connect(migration), Start(migration)
    plane = copy.copy(after)
    plane.phases = (*after.phases[:place], *come_back, *after.phases[place + 1 :])
    return plane


@dataclass(frozen=True)
class Retirement(Resource):
    """A part of the former control plane that is to leave a node."""

    what: str
    script: str
    is_there: Callable[[Facts], bool]
    note: str

    @property
    def name(self) -> str:
        """What leaves."""
        return self.what

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference as long as it has not left."""
        return Difference("remove", note=self.note) if self.is_there(facts) else None

    def apply(self, difference: Difference) -> str:
        """Take it away; what was there before our first change is restored, and the record of the rest stays.

        The functions of a reset go on where something is gone already.
        """
        return f"set +e\n{self.script}\nset -e"


class Retiring(Phase):
    """A step in which all nodes leave the former control plane."""

    #: The stage of a node that has taken the step.
    reached: Stage
    what: str
    note: str
    functions: tuple[str, ...]

    def __init__(self, before: Plane) -> None:
        """Leave this control plane."""
        self._before = before

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return what is to leave the node."""
        functions = (library("reset", "migrate"), self._before.node_functions("reset"), *self.functions)
        what = self.what.format(self._before.name)
        return (Retirement(what, "\n".join(functions), self._is_there, self.note),)

    def _is_there(self, facts: Facts) -> bool:
        return nodes.stage(self._before, facts) < self.reached


class Stop(Retiring):
    """Containers and dockerd stop, on all nodes at once; what dockerd read of ours goes."""

    name = "stop"
    reached = Stage.STOPPED
    what = "{} in Docker's configuration"
    note = "Docker and its containers stop; they start again in swarm mode"
    functions = ("halt",)


class Leave(Retiring):
    """The rest of the former control plane goes, when no dockerd needs it any more."""

    name = "retire"
    reached = Stage.LEFT
    what = "everything of {}"
    note = "the record of what was on the host before our first change stays"
    functions = ("retire",)


class SameNetworks(Phase):
    """The networks of before: of the same names, subnets, options and labels; those that a user has created too."""

    name = "same-networks"

    def __init__(self, migration: Migration) -> None:
        """Take what was recorded."""
        self._migration = migration

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the networks that are not there yet."""
        missing = {name for name, network in situation.networks.items() if network.get("Recorded")}
        return tuple(self._change(one) for one in self._migration.networks if one.name in missing)

    def _change(self, network: SharedNetwork) -> Change:
        return Change(CLUSTER, self.name, f"network {network.name}", "create", note=f"as before, {told(network)}")

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Create the network, unless a run that was killed has created it. StepFailed if it is another one."""
        network = next(one for one in self._migration.networks if self._change(one) == change)
        maker = coordinator.makers[0]
        make = partial(make_network, coordinator.docker(maker), network, VERB)
        retry(make, f"Docker makes the network {network.name}", maker.name)


def told(network: SharedNetwork) -> str:
    """Say which subnets and options a network has."""
    subnets = ", ".join(map(_told_of_pool, network.pools))
    options = "".join(f", {name.rpartition('.')[2]} {value}" for name, value in network.options.items())
    return f"{subnets}{' (by the addresses of its containers)' if network.guessed else ''}{options}"


def _told_of_pool(pool: Pool) -> str:
    return f"{pool.subnet}{f' (addresses that nobody chose: from {pool.range})' if pool.range else ''}"


def make_network(docker: DockerClient, network: SharedNetwork, verb: str) -> None:
    """Create a network as recorded, unless it is there. StepFailed if it gets other subnets; `verb` goes on then."""
    from docker.types import IPAMConfig, IPAMPool

    there = [one for one in docker.networks.list(names=[network.name]) if one.name == network.name]
    if not there:
        pools = [
            IPAMPool(pool.subnet, iprange=pool.range or None, gateway=pool.gateway.partition("/")[0] or None)
            for pool in network.pools
        ]
        docker.networks.create(
            network.name,
            "overlay",
            check_duplicate=True,
            attachable=True,  # in swarm mode: containers join by themselves
            internal=network.internal,
            labels=dict(network.labels),
            ipam=IPAMConfig(pool_configs=pools),
            options=dict(network.options),
        )
    wanted = {ipv4(pool.subnet) for pool in network.pools}
    if not wait_for(lambda: _subnets(docker, network.name) == wanted, ALLOCATION_SECONDS):
        found = ", ".join(sorted(map(str, _subnets(docker, network.name)))) or "no subnet"
        what = f"network {network.name} has {found}, not {', '.join(sorted(map(str, wanted)))}"
        advice = f"if it is not needed: docker network rm {network.name}; then run {verb} again"
        raise StepFailed(Problem(what, CLUSTER, advice))


def _subnets(docker: DockerClient, name: str) -> set[IPv4Network]:
    """Return the subnets of a network; none as long as Docker has not given it any.

    Docker creates a network first. Where a subnet overlaps another network's, it never gives any.
    """
    there = [one.attrs for one in docker.networks.list(names=[name]) if one.name == name]
    pools = [pool for attributes in there for pool in (attributes.get("IPAM") or {}).get("Config") or ()]
    return set(subnets_of({"IPAM": {"Config": pools}}))


@dataclass(frozen=True)
class Returning(Resource):
    """Containers that come back to a node. Only Docker itself knows how far they are, and it is asked each time."""

    containers: tuple[Container, ...]
    action: Action
    script: str

    @property
    def name(self) -> str:
        """`N containers`."""
        return f"{len(self.containers)} container{'' if len(self.containers) == 1 else 's'}"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference, always."""
        return Difference(self.action, note=", ".join(one.name for one in self.containers))

    def apply(self, difference: Difference) -> str:
        """Bring them back."""
        return f"{library('migrate')}\n{self.script}"


class ComeBack(Phase):
    """A step in which the containers of all nodes come back."""

    def __init__(self, migration: Migration) -> None:
        """Take what was recorded."""
        self._migration = migration

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the node's containers, if there are some for this step."""
        found = self._returning(self._migration.of(node.name))
        return (found,) if found.containers else ()

    def _returning(self, containers: tuple[Container, ...]) -> Returning:
        raise NotImplementedError


class Connect(ComeBack):
    """Every container is on its networks as before. Those whose users chose their addresses start first.

    Otherwise another container, or Docker itself, might be given such an address.
    """

    name = "containers"

    def _returning(self, containers: tuple[Container, ...]) -> Returning:
        attached = tuple(one for one in containers if one.attachments)
        connections = (_connection(one, place) for one in attached for place in one.attachments)
        first = [one.identity for one in attached if one.runs and _has_an_address(one)]
        return Returning(attached, "add", "\n".join([*connections, call("start_again", *first)]))


class Start(ComeBack):
    """Every other container that ran runs."""

    name = "start"

    def _returning(self, containers: tuple[Container, ...]) -> Returning:
        others = tuple(one for one in containers if one.runs and not _has_an_address(one))
        return Returning(others, "start", call("start_again", *(one.identity for one in others)))


def _has_an_address(container: Container) -> bool:
    return any(place.fixed for place in container.attachments)


def _connection(container: Container, place: Attachment) -> str:
    address = place.address if place.fixed else ""
    return call("connect_again", container.identity, place.network, address, *place.aliases)
