"""The contract of a control plane: all that the verbs, the engine and the checks know of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum, auto
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Protocol

from provision.core.check import Check
from provision.core.phase import Phase
from provision.core.recovery import Recovery, Standing
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.core.table import Table
from provision.core.validity import Certificate
from provision.errors import Problem
from provision.facts import Facts, Question
from provision.inventory.model import Cluster, Node
from provision.ports import Port
from provision.versions import Window

if TYPE_CHECKING:
    from docker import DockerClient

    from provision.remote import Remotes


class Goal(Enum):
    """What a verb wants of the cluster."""

    #: As the inventory says; certificates as the identity's folder is.
    CONVERGE = auto()
    #: Every leaf certificate made anew.
    RENEW = auto()
    #: The authorities replaced.
    ROTATE = auto()


def as_it_is(situation: Situation) -> Situation:
    """Enter the only stage of most goals: nothing is aimed at but the inventory."""
    return situation


@dataclass(frozen=True)
class Stage:
    """One wanted state on the way to a goal. `enter` returns the situation that aims at it, without I/O on a node.

    `title` says what the stage does; a stage that is the whole way needs none.
    """

    enter: Callable[[Situation], Situation]
    title: str = ""
    #: From what is found before the first stage to what this one leaves: what is not made yet has stand-ins.
    foresee: Callable[[Situation], Situation] = as_it_is


def after_preparation(
    following: Sequence[Stage], title: str, foreseen: Callable[[Situation], Situation] = as_it_is
) -> tuple[Stage, ...]:
    """Return the stages that follow, after one that only prepares the hosts.

    `title`: what a stage that has none does then. `foreseen`: the situation that the preparation will leave.
    """

    def prepare(now: Situation) -> Situation:
        return replace(now, preparing=True)

    def later(stage: Stage) -> Stage:
        def enter(now: Situation) -> Situation:
            return stage.enter(replace(now, preparing=False))

        def foresee(now: Situation) -> Situation:
            return stage.foresee(foreseen(replace(now, preparing=False)))

        return Stage(enter, stage.title or title, foresee)

    return (Stage(prepare, foresee=prepare), *map(later, following))


@dataclass(frozen=True)
class Status:
    """What `status` shows of a control plane: one line, whether all is well, and tables."""

    summary: str
    is_well: bool
    tables: tuple[Table, ...]
    #: By the node's name: what its dockerd is at, and cells for `Plane.node_columns`.
    nodes: Mapping[str, tuple[str, ...]]
    #: Tables that come last: what waits, and the keys of the store.
    closing: tuple[Table, ...] = ()


class Coordinator(Protocol):
    """The only door to the running cluster: API clients and what only they know. Scratch when first asked for."""

    cluster: Cluster
    remotes: Remotes

    @property
    def makers(self) -> tuple[Node, ...]:
        """The nodes whose Docker makes networks for all, and lists those that no container uses yet."""

    def docker(self, node: Node) -> DockerClient:
        """Return a Docker client of one node."""

    def aim(self, situation: Situation) -> None:
        """Take up what the controller keeps now: certificates that were just made."""

    def await_quorum(self, occasion: str) -> None:
        """Return once a quorum has acknowledged a write. StepFailed, naming `occasion`, when none does in time."""

    def await_back(self, situation: Situation, nodes: Sequence[Node]) -> None:
        """Return once these nodes, whose dockerd has restarted, are wholly in the cluster again. StepFailed."""

    def cleaning_up_after(self, subnet: IPv4Network) -> AbstractContextManager[None]:
        """Remove in the end what networks of this subnet, made and removed meanwhile, have left behind."""

    def users_data(self, situation: Situation) -> Sequence[Problem]:
        """Return what a reset would delete of a user's data. Unanswered, with the reason, if that cannot be seen."""

    def status(self, situation: Situation, *, store: bool) -> Status:
        """Look at the cluster as it is now."""

    def save(self, situation: Situation) -> Mapping[str, bytes]:
        """Return the cluster's own data for a backup, by paths in the archive. Nothing stops. StepFailed."""

    def close(self) -> None:
        """Close what was opened."""


class Plane:
    """One way to make overlay networks one network. Pure; `local`, `keeps`, `supplied` use the controller's disk."""

    name: str
    #: Docker versions that can, why later ones cannot, and how to get one that can.
    docker_versions: Window
    docker_reason: str
    docker_advice: str
    #: What a later Docker means for the containers of a node that was provisioned with one that can, and the way out;
    #: see checks/outgrown.py. Empty where no later one is known to be unable.
    outgrown_means: str = ""
    outgrown_advice: str = ""
    #: What leads a cluster beyond these versions.
    upgrade_advice: str = ""
    #: The names that its networks may have, and their length.
    network_names: re.Pattern[str] = re.compile(r".+")
    network_name_length: int = 255
    #: In the order in which they run.
    phases: tuple[Phase, ...]
    ports: tuple[Port, ...]
    #: Paths on a node by which `is_on` sees that the node is on this plane.
    traces: tuple[str, ...] = ()
    #: Paths on a node of the authorities' certificates that its check same-authority looks at.
    authorities: tuple[str, ...] = ()
    #: Units of its own daemons on a node, beside Docker's.
    services: tuple[str, ...] = ()
    #: What renews the cluster's certificates, and what to do if it has not.
    renewal: str = "fab provision"
    #: The folder on a node in which data from before a recovery is kept, when the node joins anew.
    kept_data: str = ""
    #: The folder on the node that a recovery keeps in which it copies that node's data first; empty if it copies none.
    copied_data: str = ""
    #: Columns that the plane adds to the table of nodes.
    node_columns: tuple[str, ...] = ()
    #: Whether its nodes are in swarm mode; else none may be.
    swarm_mode: bool = False
    #: Whether the controller reaches Docker through its Unix socket.
    uses_socket: bool = False
    #: Keys of daemon.json, and flags of dockerd, that the plane sets itself.
    daemon_keys: frozenset[str] = frozenset()
    #: Libraries that are imported while the connections are made, as the clients need them.
    modules: tuple[str, ...] = ()
    #: Python distributions that a bundle names with their versions.
    libraries: tuple[str, ...] = ()

    def ports_of(self, cluster: Cluster) -> tuple[Port, ...]:
        """Return the ports that the nodes of a cluster open. `ports` has them for an inventory without further keys."""
        return self.ports

    def keeps(self, cluster: Cluster) -> bool:
        """Say whether the identity's folder shows that this plane provisioned the cluster before that was recorded."""
        return False

    def is_on(self, facts: Facts) -> bool:
        """Say whether a node holds what this plane has put there."""
        return False

    def local(self, cluster: Cluster) -> tuple[object, tuple[Problem, ...]]:
        """Return what the controller keeps for the cluster, and what is wrong with it."""
        raise NotImplementedError

    def supplied(self, situation: Situation, say: Callable[[str], None]) -> tuple[Situation, tuple[Problem, ...]]:
        """Get for the controller what the nodes will need, now that they have answered, and `say` how far that is.

        Return the situation with it, and what is wrong with it. Nothing on a node changes.
        """
        return situation, ()

    def describe_local(self, situation: Situation) -> str:
        """Say what the controller has for the nodes, where nothing is wrong with it."""
        raise NotImplementedError

    def question(self, situation: Situation, node: Node) -> Question:
        """Return what a node is asked beside what its resources ask."""
        return Question()

    def whole(self, situation: Situation) -> Situation:
        """Return the situation in which each phase wants all that it wants in any stage: so much is asked of a node."""
        return situation

    def follow_up(self, situation: Situation) -> Mapping[str, str]:
        """Return scripts, by the node's name, that ask what the first answers have made worth knowing."""
        return {}

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say why no order of changes leads to what is wanted."""
        return ()

    def unasked(self, situation: Situation) -> tuple[Problem, ...]:
        """Say why the controller cannot ask the cluster's daemons, though they may be well."""
        return ()

    def outage(self, situation: Situation) -> tuple[Problem, ...]:
        """Say that the quorum is lost, where it is: nobody knows then which networks there are."""
        return ()

    def warnings(self, situation: Situation) -> tuple[Problem, ...]:
        """Say what a person should know, and what stands in nobody's way."""
        return ()

    def stages(self, situation: Situation, goal: Goal) -> tuple[Stage, ...]:
        """Return the stages that lead to the goal, at least one."""
        return (Stage(as_it_is),)

    def adoption(self, situation: Situation, remotes: Remotes) -> tuple[Stage, ...]:
        """Take the nodes over from a controller that is lost; return the stages that follow. PreflightRefused."""
        raise NotImplementedError

    def certificates(self, situation: Situation) -> Iterator[Certificate]:
        """Walk every certificate that was found, on the controller and on the nodes."""
        yield from ()

    def checks(self) -> tuple[Check, ...]:
        """Return the plane's own checks, those of preflight first. Imported when they are needed."""
        return ()

    def disk_needs(self, situation: Situation, node: Node) -> Mapping[str, tuple[str, int]]:
        """Return the folders that the plane writes to on a node: for what, and how many bytes they still take."""
        return {}

    def on_the_network(self, situation: Situation, node: Node) -> bool:
        """Say whether the node's dockerd was found in the cluster, so that it can remove networks."""
        raise NotImplementedError

    def counts_on(self, situation: Situation, node: Node) -> bool:
        """Say whether the others count on this node as a member: it cannot go alone."""
        return False

    def node_functions(self, purpose: str) -> str:
        """Return shell functions that the plane adds to a script for a purpose: `bundle` or `reset`.

        A plane that has a successor also has, for `reset`, the functions by which a node leaves it and keeps its
        record: `retire_docker` and `retire_rest` (node/migrate.sh).
        """
        return ""

    def kept_networks(self, remotes: Remotes, cluster: Cluster) -> tuple[Mapping[str, Any], ...]:
        """Return the networks that hosts share, as Docker's API tells them, from what the cluster keeps beside Docker.

        Empty if it keeps nothing. PreflightRefused if nobody answers who would know.
        """
        return ()

    def holds_data(self, facts: Facts) -> bool:
        """Say whether a node has data of the cluster, with which it could go on without the others."""
        return False

    def disowned(self, facts: Facts) -> Facts:
        """Return a node's facts without what it says of the cluster: it was away while that was recovered."""
        return facts

    def standings(self, situation: Situation) -> tuple[Standing, ...]:
        """Return what each node that answers is to this control plane, also without a quorum."""
        raise NotImplementedError

    def asked_for_recovery(self, situation: Situation) -> Mapping[str, str]:
        """Return scripts, by the node's name, that ask what only a recovery has to know.

        There may be a quorum: that of a recovery which was killed, or that of one cluster of two.
        """
        return {}

    def lost_containers(self, situation: Situation, address: str) -> tuple[str, ...]:
        """Return the names of the containers of a host that does not answer, as far as the others know them."""
        return ()

    def recovering(self, recovery: Recovery) -> Plane:
        """Return this control plane with the phases that lead out of the loss of a quorum."""
        raise NotImplementedError

    def saved_networks(self, situation: Situation, files: Mapping[str, bytes]) -> Iterable[Mapping[str, Any]]:
        """Return the networks that come back with what `Coordinator.save` returned, as Docker's API tells them. Pure.

        Where these files do not tell them, they are those that Docker told a moment before.
        """
        return situation.networks.values()

    def restoring(self, saved: Saved) -> Plane:
        """Return this control plane with the phases that set a cluster up from what was saved of it."""
        raise NotImplementedError

    def open(self, remotes: Remotes, situation: Situation) -> Coordinator:
        """Return the door to the running cluster."""
        raise NotImplementedError
