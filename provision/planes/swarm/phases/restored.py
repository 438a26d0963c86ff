"""A swarm set up anew from a backup, on the first manager; what other nodes have of a swarm is put aside."""

from __future__ import annotations

from base64 import encodebytes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.core.phase import Phase, Wave
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.resource import Difference, Resource, call
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.facts import Facts, Question
from provision.inventory.model import Node
from provision.node import library
from provision.planes.swarm import own_address, paths, view
from provision.planes.swarm.coordinator import opened
from provision.planes.swarm.node import functions
from provision.planes.swarm.phases.swarm import founder
from provision.planes.swarm.ports import MANAGEMENT_PORT
from provision.planes.swarm.saving import SavedManager
from provision.resources.system import stopped_for_good

#: The name under which Docker's folder keeps what it had of a swarm.
ASIDE = "swarm.before-restore"


def has_a_swarm(facts: Facts) -> bool:
    """Say whether a node's dockerd is in a swarm, or will be when it starts."""
    return facts.values.get("swarm") == "yes" or view.daemon(facts).state not in ("", "inactive")


def _mark(facts: Facts) -> str:
    """Return how far a node is with a restore: `placed ID` or `forced ID`; empty where there is none."""
    there = facts.paths.get(paths.RESTORED)
    return (there.text or "").strip() if there else ""


def _consent(what: str, facts: Facts) -> str:
    root = facts.values.get("docker-root", "")
    return f"put what {what} aside, as {root}/{ASIDE}.TIME; its Docker and its containers stop for that"


@dataclass(frozen=True)
class RestoredSwarm(Resource):
    """The saved swarm at work on a node, which is its only manager then."""

    node: Node
    manager: SavedManager
    moment: str
    root: str
    vxlan_port: int

    @property
    def name(self) -> str:
        """What the plan calls it."""
        return "the saved swarm"

    def question(self) -> Question:
        """Ask how far it is."""
        return Question(shown=(paths.RESTORED,))

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference until the swarm is at work. What another swarm has left needs a yes."""
        mark, identity = _mark(facts), self.manager.identity
        if mark == f"forced {identity}":
            return None
        is_of_before = has_a_swarm(facts) and mark != f"placed {identity}"
        return Difference(
            "create",
            note=f"as it was on {self.moment}; {self.node.name} alone manages it until the others have joined",
            stops=stopped_for_good(facts) if is_of_before else (),
            consent=_consent("Docker has of a swarm", facts) if is_of_before else "",
        )

    def apply(self, difference: Difference) -> str:
        """Put the saved files in place, and let Docker take them up."""
        port = str(MANAGEMENT_PORT)
        words = (self.root, self.manager.identity, self.node.address, port, str(self.vxlan_port))
        encoded = encodebytes(self.manager.archive).decode()
        return f"{_functions()}\n{call('restore_swarm', *words)} <<'.'\n{encoded}."


@dataclass(frozen=True)
class FormerSwarm(Resource):
    """What a node has of a swarm that is not the restored one: it is kept, and the node is in no swarm then."""

    root: str
    is_there: bool

    @property
    def name(self) -> str:
        """What the plan calls it."""
        return "the former swarm"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference as long as Docker has it."""
        if not self.is_there:
            return None
        consent = _consent("Docker has of a swarm", facts)
        return Difference(
            "remove", note="the node joins the restored one", stops=stopped_for_good(facts), consent=consent
        )

    def apply(self, difference: Difference) -> str:
        """Put it aside, and start dockerd in no swarm."""
        return f"{_functions()}\n{call('put_swarm_aside', self.root)}\nstart_without_swarm"


def _functions() -> str:
    return f"{library('reset', 'migrate')}{functions('restore')}"


class Restored(Phase):
    """The swarm of a backup on the first manager, when no other node has anything of a former one."""

    name = "restore"
    seconds = 600

    def __init__(self, saved: Saved, manager: SavedManager) -> None:
        """Take what was saved."""
        self._saved, self._manager = saved, manager

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the saved swarm on the first manager; on any other node, the former one, which goes."""
        root = situation.of(node).values.get("docker-root", "")
        if node == founder(situation):
            port = self._manager.port or situation.cluster.vxlan_port
            return (RestoredSwarm(node, self._manager, self._saved.moment, root, port),)
        return (FormerSwarm(root, has_a_swarm(situation.of(node)) and self._entry(situation, node) is None),)

    def _entry(self, situation: Situation, node: Node) -> view.Listed | None:
        """Return a node as the restored swarm lists it, if a run that was killed had set the swarm up."""
        first = situation.of(founder(situation))
        if _mark(first) != f"forced {self._manager.identity}":
            return None
        listed = map(view.entry, first.docker.get(view.NODES) or ())
        identity = view.daemon(situation.of(node)).identity
        return next((one for one in listed if one.identity == identity), None)

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return that the manager is at its own address, until its entry says so."""
        node = founder(situation)
        entry = self._entry(situation, node)
        if entry and own_address.is_kept(node, entry, view.snapshot_interval(situation.of(node))):
            return ()
        note = "other managers find it there"
        return (Change(CLUSTER, self.name, f"address of {node.name} in the swarm", "update", note=note),)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Correct the address that the swarm's log has of its only manager."""
        own_address.correct(opened(coordinator), founder(situation), self._manager)

    def waves(self, situation: Situation, changes: Mapping[str, Sequence[Change]]) -> tuple[Wave, ...]:
        """The first manager comes last: two with one identity may not be at work together."""
        first = founder(situation)
        others = tuple(node for node in situation.cluster.nodes if changes.get(node.name) and node != first)
        return (others, (first,) if changes.get(first.name) else ())
