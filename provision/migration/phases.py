"""The phases of a migration: nodes leave the former control plane; under the next one, containers come back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from provision.core.phase import Phase, Wave
from provision.core.plan import CLUSTER, Change
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
from provision.migration.record import Migration, SharedNetwork
from provision.network.subnets import ipv4, subnets_of
from provision.node import library
from provision.phases.networks import Networks

if TYPE_CHECKING:
    from docker import DockerClient

    from provision.core.plane import Coordinator


def leaving(before: Plane) -> Plane:
    """Return the former control plane with the phases in which nodes leave it."""
    plane = copy.copy(before)
    plane.phases = (Stop(before), Leave(before))
    return plane


def entering(before: Plane, after: Plane, migration: Migration) -> Plane:
    """Return the next control plane with the phases in which networks and containers come back.

    The networks come before those that only the inventory has, the containers before all that takes an address.
    """
    (place,) = (number for number, phase in enumerate(after.phases) if isinstance(phase, Networks))
    come_back = SameNetworks(migration), after.phases[place], ComeBack(before, migration)
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
        make = partial(_make, coordinator.docker(maker), network)
        retry(make, f"Docker makes the network {network.name}", maker.name)


def told(network: SharedNetwork) -> str:
    """Say which subnets and options a network has."""
    subnets = ", ".join(pool.subnet for pool in network.pools)
    options = "".join(f", {name.rpartition('.')[2]} {value}" for name, value in network.options.items())
    return f"{subnets}{' (by its containers’ addresses)' if network.guessed else ''}{options}"


def _make(docker: DockerClient, network: SharedNetwork) -> None:
    from docker.types import IPAMConfig, IPAMPool

    there = [one for one in docker.networks.list(names=[network.name]) if one.name == network.name]
    if not there:
        pools = [
            IPAMPool(pool.subnet, iprange=pool.range or None, gateway=pool.gateway.partition("/")[0] or None)
            for pool in network.pools
        ]
        made = docker.networks.create(
            network.name,
            "overlay",
            check_duplicate=True,
            attachable=True,  # in swarm mode: containers join by themselves
            internal=network.internal,
            labels=dict(network.labels),
            ipam=IPAMConfig(pool_configs=pools),
            options=dict(network.options),
        )
        made.reload()
        there = [made]
    wanted = {ipv4(pool.subnet) for pool in network.pools}
    for one in there:
        found = set(subnets_of({**one.attrs, "IPAM": {"Config": _pools(one.attrs)}}))
        if found != wanted:
            what = f"network {network.name} has the subnets {sorted(map(str, found))}, not {sorted(map(str, wanted))}"
            advice = f"if it is not needed: docker network rm {network.name}; then run fab migrate again"
            raise StepFailed(Problem(what, CLUSTER, advice))


def _pools(attributes: Mapping[str, Any]) -> Sequence[Any]:
    """Return the pools; Docker tells none where a subnet overlaps another network's, though it has created it."""
    return (attributes.get("IPAM") or {}).get("Config") or ()


@dataclass(frozen=True)
class Returned(Resource):
    """The containers of a node, each on its networks as before; those that ran run."""

    containers: tuple[Container, ...]

    @property
    def name(self) -> str:
        """`containers` and their number."""
        return f"{len(self.containers)} containers on their networks"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference: only Docker itself knows whether a container is back, and it is asked each time."""
        return Difference("start", note=", ".join(one.name for one in self.containers)) if self.containers else None

    def apply(self, difference: Difference) -> str:
        """Connect each container, then start those that ran: those with addresses of their own first."""
        running = [one for one in self.containers if one.runs]
        fixed = [one.identity for one in running if any(place.fixed for place in one.attachments)]
        others = [one.identity for one in running if one.identity not in fixed]
        connections = (_connection(one, place) for one in self.containers for place in one.attachments)
        starts = (call("start_again", *some) for some in (fixed, others) if some)
        return "\n".join([library("migrate"), *connections, *starts])


def _connection(container: Container, place: Attachment) -> str:
    address = place.address if place.fixed else ""
    return call("connect_again", container.identity, place.network, address, *place.aliases)


class ComeBack(Phase):
    """Every container of before on its networks."""

    name = "containers"

    def __init__(self, before: Plane, migration: Migration) -> None:
        """Take what was recorded."""
        self._before, self._migration = before, migration

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the node's containers, until it is done."""
        if nodes.stage(self._before, situation.of(node)) is Stage.DONE:
            return ()
        return (Returned(self._migration.of(node.name)),)

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """All nodes at once."""
        return super().waves(situation, changes)
