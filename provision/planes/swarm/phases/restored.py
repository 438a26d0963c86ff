"""A swarm set up anew from a backup, on the first manager; what nodes have of a former swarm is put aside before."""

from __future__ import annotations

from base64 import encodebytes
from dataclasses import dataclass, replace

from provision import layout
from provision.backup.record import MARK
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.resource import Difference, Resource, call
from provision.core.saved import Saved
from provision.core.situation import Situation, is_shared
from provision.errors import Problem, StepFailed
from provision.facts import Facts
from provision.inventory.model import Node
from provision.node import library
from provision.planes.swarm import own_address, paths, validity, view
from provision.planes.swarm.coordinator import ADVICE, SwarmCoordinator, opened
from provision.planes.swarm.node import functions
from provision.planes.swarm.phases.mend import Mend
from provision.planes.swarm.phases.swarm import Swarm, founder
from provision.planes.swarm.ports import MANAGEMENT_PORT, of_cluster
from provision.planes.swarm.saving import SavedManager
from provision.resources import Service
from provision.resources.system import stopped_a_while, stopped_for_good

#: What Docker's `swarm` was before, on a node; its end is the time.
ASIDE = f"{paths.FORMER}/before-restore"
#: Seconds in which Docker takes up the saved swarm: 2 to 27 on hosts.
SECONDS = 600


def mark(facts: Facts) -> tuple[str, str]:
    """Return the restore that a node takes part in, and how far it is: see node/restore.sh."""
    there = facts.paths.get(MARK)
    identity, _, stage = ((there.text or "").strip() if there else "").partition(" ")
    return identity, stage


def is_forced(situation: Situation, saved: Saved) -> bool:
    """Say whether the saved swarm is at work on the first manager."""
    return mark(situation.of(founder(situation))) == (saved.restore, "forced")


def is_former(situation: Situation, node: Node, saved: Saved) -> bool:
    """Say whether a node has a swarm that is not the restored one, or was killed while it left that."""
    facts = situation.of(node)
    restore, stage = mark(facts)
    if restore == saved.restore:
        return stage == "leaving" or not facts.docker_answers
    return has_a_swarm(facts) and not takes_part(situation, node, saved)


def takes_part(situation: Situation, node: Node, saved: Saved) -> bool:
    """Say whether this restore has begun on a node, or the node has joined the restored swarm."""
    if mark(situation.of(node))[0] == saved.restore:
        return True
    return is_forced(situation, saved) and _entry(situation, node) is not None


def has_a_swarm(facts: Facts) -> bool:
    """Say whether a node's dockerd is in a swarm, or will be when it starts."""
    return facts.values.get("swarm") == "yes" or view.daemon(facts).state not in ("", "inactive")


def _entry(situation: Situation, node: Node) -> view.Listed | None:
    """Return a node as the first manager lists it."""
    listed = map(view.entry, situation.of(founder(situation)).docker.get(view.NODES) or ())
    identity = view.daemon(situation.of(node)).identity
    return next((one for one in listed if one.identity == identity), None)


def without_former(situation: Situation, saved: Saved) -> Situation:
    """Return the situation as it will be found when every former swarm is put aside, and every dockerd runs. Pure."""

    ports = {port.number: port for port in of_cluster(situation.cluster)}

    def cleared(facts: Facts) -> Facts:
        told = ("swarm-address", validity.NODE, validity.AUTHORITY)
        info = facts.docker.get(view.INFO) or {}
        dockerd = f"pid={facts.unit(layout.DOCKER_UNIT).process},"
        return replace(
            facts,
            values={name: value for name, value in facts.values.items() if name != "swarm"},
            answers={name: answer for name, answer in facts.answers.items() if name not in told},
            paths={path: one for path, one in facts.paths.items() if path != MARK or mark(facts)[1] != "leaving"},
            docker_answers=True,
            docker={view.INFO: {**info, "Swarm": {"LocalNodeState": "inactive"}}},
            networks=tuple(one for one in facts.networks if not is_shared(one)),
            listeners=tuple(
                one
                for one in facts.listeners
                if one.port not in ports or not (dockerd in one.owner or ports[one.port].in_kernel)
            ),
        )

    former = {node.name for node in situation.cluster.nodes if is_former(situation, node, saved)}
    facts = {name: cleared(there) if name in former else there for name, there in situation.facts.items()}
    return replace(situation, facts=facts)


@dataclass(frozen=True)
class FormerSwarm(Resource):
    """What a node has of a former swarm: it is kept, and the node is in no swarm then."""

    root: str
    restore: str
    is_there: bool

    @property
    def name(self) -> str:
        """`former swarm`."""
        return "former swarm"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference as long as Docker has it."""
        if not self.is_there:
            return None
        note = "; ".join(filter(None, [f"kept as {ASIDE}.TIME", stopped_a_while(facts)]))
        consent = "" if mark(facts)[0] == self.restore else "put the former swarm aside"
        return Difference("remove", note=note, stops=stopped_for_good(facts), consent=consent)

    def apply(self, difference: Difference) -> str:
        """Put it aside, and start dockerd in no swarm."""
        return f"{_functions()}\n{call('put_former_swarm_aside', self.root, self.restore)}"


def _functions() -> str:
    return f"{library('reset', 'containers', 'migrate')}{functions('former_swarm')}{functions('restore')}"


class Aside(Phase):
    """Every node leaves its former swarm: of two with one identity, only one may be at work."""

    name = "aside"
    prepares = True

    def __init__(self, saved: Saved) -> None:
        """Take what was saved."""
        self._saved = saved

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the former swarm."""
        root = situation.of(node).values.get("docker-root", "")
        return (FormerSwarm(root, self._saved.restore, is_former(situation, node, self._saved)),)


@dataclass(frozen=True)
class Held(Resource):
    """Nothing starts containers before they are connected again: one might get an address that a user chose."""

    @property
    def name(self) -> str:
        """`containers held`."""
        return "containers held"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference as long as the program beside dockerd runs."""
        running = facts.unit(layout.MEND_UNIT).running
        return Difference("update", note=f"{layout.MEND_UNIT} stops until they are back") if running else None

    def apply(self, difference: Difference) -> str:
        """Stop the program."""
        return f"{_functions()}\npause_containers"


@dataclass(frozen=True)
class Released(Resource):
    """The record of what containers should have is brought up to date again."""

    @property
    def name(self) -> str:
        """`record of containers`."""
        return "record of containers"

    def compare(self, facts: Facts) -> Difference | None:
        """Return a difference, always."""
        return Difference("free", note="containers are back")

    def apply(self, difference: Difference) -> str:
        """Remove the file that holds it."""
        return call("rm", "-f", layout.HELD)


class MendLast(Mend):
    """The program beside dockerd, which starts again when the containers are back."""

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the same as in any run; the service is stopped before this phase."""
        there = super().resources(situation, node)
        return (Released(), *(replace(one, stopped=True) if isinstance(one, Service) else one for one in there))


class RestoredSwarm(Swarm):
    """The saved swarm, set up on its first manager; every other node joins it."""

    def __init__(self, saved: Saved, manager: SavedManager) -> None:
        """Take what was saved."""
        self._saved, self._manager = saved, manager

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return that containers wait until they are connected again."""
        return (Held(),)

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return that the saved swarm is set up, and then what changes in any swarm."""
        changes = (one for one in super().cluster_changes(situation) if one.action != "create")
        note = f"as saved on {self._saved.moment}; {founder(situation).name} manages it, at its own address"
        made = Change(CLUSTER, self.name, "swarm", "create", note=note)
        return tuple(changes) if self._is_done(situation) else (made, *changes)

    def _is_done(self, situation: Situation) -> bool:
        node = founder(situation)
        entry, interval = _entry(situation, node), view.raft(situation.of(node)).get(own_address.INTERVAL)
        return is_forced(situation, self._saved) and entry is not None and own_address.is_kept(node, entry, interval)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Set the saved swarm up, from where a run that was killed has stopped; or make any other change."""
        if change.action != "create":
            super().change_cluster(situation, coordinator, change)
            return
        door, node = opened(coordinator), founder(situation)
        self._set_up(situation, door, node)
        own_address.correct(door, node, self._manager)
        door.await_quorum("after the saved swarm was set up")

    def _set_up(self, situation: Situation, door: SwarmCoordinator, node: Node) -> None:
        root = situation.of(node).values.get("docker-root", "")
        vxlan = str(self._manager.port or situation.cluster.vxlan_port)
        words = (root, self._saved.restore, node.address, str(MANAGEMENT_PORT), vxlan, self._manager.identity)
        encoded = encodebytes(self._manager.archive).decode()
        script = f"{library('record', 'changes')}{_functions()}\n{call('restore_swarm', *words)} <<'.'\n{encoded}.\n"
        result = door.remotes[node.name].run(script, timeout=SECONDS, changes=True, what="setting up the saved swarm")
        if result.code:
            what = f"the saved swarm is not set up: {result.stderr.strip()[-800:]}"
            raise StepFailed(Problem(what, node.name, f"{ADVICE}; then run provision again: it goes on here"))
