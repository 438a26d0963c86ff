"""A swarm made anew by one of its nodes, and containers that come back to their networks there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from provision import layout, waiting
from provision.core.phase import Phase, Wave
from provision.core.plan import CLUSTER, Change
from provision.core.recovery import Recovery
from provision.core.resource import Difference, Resource, call
from provision.core.situation import Situation
from provision.docker.client import asked, retry
from provision.errors import Problem, Unanswered
from provision.facts import Facts, Question
from provision.inventory.model import Node
from provision.migration.phases import make_network, told
from provision.node import library
from provision.planes.swarm import node_changes, paths, recovery, view
from provision.planes.swarm.coordinator import ADVICE, SwarmCoordinator, opened
from provision.planes.swarm.node import functions
from provision.planes.swarm.phases.swarm import make
from provision.planes.swarm.ports import MANAGEMENT_PORT
from provision.resources.system import stopped_a_while, stopped_for_good

if TYPE_CHECKING:
    from docker import DockerClient

    from provision.core.plane import Coordinator

#: The verb that goes on with a recovery.
VERB = "fab recover"
#: Hold the record of containers on a node.
HOLD = 'hold_containers || die "what containers should have cannot be recorded in $state"'
#: The same where the swarm's networks are known to nobody else.
HOLD_NETWORKS = 'hold_networks || die "Docker does not list its networks, or they cannot be recorded in $state"'
#: Restart a dockerd that listens for the gossip of a swarm that it has left.
END_GOSSIP = 'end_gossip || die "Docker does not restart: $(last_words docker.service)"'
#: Seconds until one manager rules alone: 0.6 to 25, and 52 where its dockerd had just started.
FORCE_SECONDS = 120.0
#: Seconds in which workers find the manager that is left, or are named by what does not work there.
WORKERS_SECONDS = 60.0


def on_node(*calls: str) -> str:
    """Return a script that calls functions of recover.sh on a node."""
    ours = map(functions, ("reset", "former_swarm", "recover"))
    needed = (library("reset", "containers", "migrate"), *ours)
    return "\n".join(("set +e", *needed, *calls, "set -e"))


@dataclass(frozen=True)
class Step(Resource):
    """A step that a node takes. Taken once more, it does nothing."""

    what: str
    difference: Difference
    script: str

    @property
    def name(self) -> str:
        """What the step is about."""
        return self.what

    def question(self) -> Question:
        """Ask for what the node has recorded before the step."""
        return Question(paths=(layout.HELD, paths.NETWORKS), shown=(paths.NETWORKS,))

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference, always."""
        return self.difference

    def apply(self, difference: Difference) -> str:
        """Take the step."""
        return on_node(self.script)


def former_swarm(situation: Situation, node: Node, *, consent: bool) -> Step:
    """Return the step in which a node leaves its swarm and keeps its data."""
    kept = f"its data there is kept in {paths.FORMER}"
    asks = f"let the swarm go that this host was given up by ({kept}), and let it join anew,"
    facts = situation.of(node)
    note = "; ".join(filter(None, [kept, stopped_a_while(facts)]))
    difference = Difference("remove", note=note, stops=stopped_for_good(facts), consent=asks if consent else "")
    return Step("its former swarm", difference, call("leave_former_swarm", recovery.folder(situation, node)))


class FormerSwarm(Phase):
    """Hosts that were given up and are back leave their former swarm. Their containers are down already."""

    name = "former-swarm"
    seconds = 600

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the step of a host that was given up, or of one that has left by itself and keeps its gossip."""
        if recovery.was_given_up(situation, node):
            return (former_swarm(situation, node, consent=True),)
        return (_former_gossip(situation.of(node)),) if recovery.keeps_gossip(situation.of(node)) else ()


def _former_gossip(facts: Facts) -> Step:
    note = "; ".join(filter(None, ["Docker, which has left its swarm, is restarted", stopped_a_while(facts)]))
    difference = Difference("remove", note=note, stops=stopped_for_good(facts))
    return Step("the gossip of its former swarm", difference, END_GOSSIP)


class Containers(Phase):
    """Containers that are off their networks come back: of a host that has joined anew, as it had recorded them."""

    name = "come-back"
    seconds = 900

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the step of a node whose record is held, or is about to be. A migration brings its own back."""
        facts = situation.of(node)
        held = layout.HELD in facts.paths and facts.values.get("migration") != "yes"
        if not (held or recovery.was_given_up(situation, node)):
            return ()
        return (come_back("let"),)


def come_back(how: str) -> Step:
    """Return the step in which a node's containers come back; see `reattach` in recover.sh."""
    note = "connected as recorded, one at a time, and started"
    return Step("its containers on their networks", Difference("add", note=note), call("reattach", how))


class Recovering(Phase):
    """A phase of a recovery."""

    def __init__(self, decided: Recovery) -> None:
        """Take what was decided."""
        self._decided = decided

    def staying(self, situation: Situation) -> tuple[Node, ...]:
        """Return the nodes that answer and stay in the swarm."""
        others = {one.name for one in self._decided.others}
        return tuple(node for node in situation.cluster.nodes if node.name not in others)

    def begins_anew(self, situation: Situation) -> bool:
        """Say whether the node that is kept is no manager: it begins another swarm."""
        return not recovery.manages(situation, self._decided.keep)


class Hold(Recovering):
    """What containers should have, and the networks, are recorded on each node before anything is done."""

    name = "hold"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the step."""
        difference = Difference("hold", note="their networks, aliases and addresses, as they are now")
        leaves = self.begins_anew(situation) and node in (self._decided.keep, *self._decided.others)
        return (Step("the record of containers", difference, HOLD_NETWORKS if leaves else HOLD),)


class Others(Recovering):
    """Other nodes that hold the swarm's data leave it, one after another: and a worker that begins another swarm."""

    name = "others"
    seconds = 600

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the step of a node that leaves."""
        stays = node in self.staying(situation)
        leaves = not stays or (node.name == self._decided.keep.name and self.begins_anew(situation))
        return (former_swarm(situation, node, consent=False),) if leaves else ()

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """One node after another: of several that leave at once, one may keep its gossip's port."""
        return tuple((node,) for node in situation.cluster.nodes if changes.get(node.name))


class Alone(Recovering):
    """The node that is kept manages the swarm alone, and shuts out the others; or it begins another swarm."""

    name = "swarm"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the change."""
        keep, lost = self._decided.keep.name, ", ".join(one.name for one in self._decided.lost)
        if self.begins_anew(situation):
            note = f"another one, which {keep} manages; networks without a container on these nodes are lost"
            return (Change(CLUSTER, self.name, "swarm", "create", note=note),)
        note = (
            f"{keep} manages it alone; {lost}: removed for good, and so is each other node that does not answer here, "
            "which the report names; the join tokens are made anew"
        )
        return (Change(CLUSTER, self.name, "swarm", "replace", note=note),)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> tuple[Problem, ...]:
        """Make it so; what a run before has done is not done again. Return which nodes were removed. StepFailed."""
        door, keep = opened(coordinator), self._decided.keep
        if change.action == "create":
            retry(lambda: make(situation, door.docker(keep), keep), "Docker makes the swarm", keep.name)
            return ()
        what = f"{keep.name} manages the swarm alone"
        port = situation.cluster.vxlan_port
        waiting.until(lambda: _alone(door.docker(keep), keep, port), what, keep.name, ADVICE, seconds=FORCE_SECONDS)
        staying = {recovery.identity(situation, node) for node in self.staying(situation)}
        gone = node_changes.shut_out(door, staying)
        waiting.wait_for(lambda: _all_ready(door), WORKERS_SECONDS)
        return struck_off(gone)


def struck_off(gone: Sequence[view.Listed]) -> tuple[Problem, ...]:
    """Name the nodes that were struck off the swarm's list. Pure."""
    if not gone:
        return ()
    names = ", ".join(f"{one.hostname} ({one.address}, {'manager' if one.manager else 'worker'})" for one in gone)
    what = f"removed from the swarm for good: {names}"
    return (Problem(what, CLUSTER, "a host among them that lives joins anew with fab provision"),)


def _alone(docker: DockerClient, node: Node, port: int) -> None:
    """Let a manager rule alone, unless it does. Docker goes on after it has said that its attempt took too long."""
    if _rules_alone(docker):
        return
    listen = f"{node.address}:{MANAGEMENT_PORT}"
    asked(
        # `docker.swarm` would ask for the swarm first, which fails without a leader.
        lambda: docker.api.init_swarm(
            force_new_cluster=True,
            advertise_addr=listen,
            listen_addr=listen,
            data_path_addr=node.address,
            data_path_port=port,
        )
    )
    if not _rules_alone(docker):
        raise Unanswered("it does not lead yet")


def _rules_alone(docker: DockerClient) -> bool:
    try:
        entries = list(map(view.entry, asked(docker.api.nodes)))
    except Unanswered:
        return False
    return [one.leader for one in entries if one.reachable or one.leader] == [True]


def _all_ready(door: SwarmCoordinator) -> bool:
    try:
        return all(map(view.is_ready, asked(door.manager().api.nodes)))
    except Unanswered:
        return False


class SameNetworks(Recovering):
    """The networks of a swarm that is another one: of the same names, subnets, options and labels."""

    name = "same-networks"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the networks that another swarm does not have yet."""
        there = set() if self.begins_anew(situation) else set(situation.networks)
        missing = (one for one in recovery.networks(situation, self._decided) if one.name not in there)
        return tuple(
            Change(CLUSTER, self.name, f"network {one.name}", "create", note=f"as before, {told(one)}")
            for one in missing
        )

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Create the network. StepFailed if it is another one."""
        keep = self._decided.keep
        named = (one for one in recovery.networks(situation, self._decided) if change.resource == f"network {one.name}")
        make_it = partial(make_network, coordinator.docker(keep), next(named), VERB)
        retry(make_it, f"Docker makes {change.resource}", keep.name)


class Reattached(Recovering):
    """Every container that ran is connected again, so that the other hosts know its name and its address.

    One at a time: two containers of one host miss each other for half a second. Without that, they would have no names,
    and no packets from and to other hosts, until they are restarted.
    """

    name = "reattach"
    seconds = 900

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the step of a node that stays; the containers of others come back when they have joined again."""
        return (come_back("keep"),) if node in self.staying(situation) else ()


def phases(decided: Recovery) -> tuple[Phase, ...]:
    """Return the phases of a recovery, in their order."""
    return (Hold(decided), Others(decided), Alone(decided), SameNetworks(decided), Reattached(decided))


def managed_by(situation: Situation, keep: Node) -> Situation:
    """Return the situation in which one node alone is a member."""
    nodes = tuple(replace(node, member=node.name == keep.name) for node in situation.cluster.nodes)
    return replace(situation, cluster=replace(situation.cluster, nodes=nodes))
