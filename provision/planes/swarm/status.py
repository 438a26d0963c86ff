"""What `status` shows of this control plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from provision import layout
from provision.core.membership import majority, spare
from provision.core.plane import Status
from provision.core.situation import Situation
from provision.core.table import Table
from provision.core.validity import left
from provision.docker.stopped import COULD_NOT_START
from provision.facts import Facts
from provision.inventory.model import Node
from provision.planes.swarm import leaving, paths, validity, view
from provision.remote import Remote

#: A manager's state as its table shows it.
COLUMNS = ("node", "docker", "role", "health")


def could_not_start(remote: Remote) -> tuple[str, ...]:
    """Return the containers of a node that should run, and could not be started."""
    return tuple(remote.run(COULD_NOT_START, timeout=30, what="a look at Docker").stdout.split())


def status(stopped: Mapping[str, Sequence[str]], situation: Situation) -> Status:
    """Return managers and daemons, from what the nodes have just said. `stopped`: `could_not_start` of each node."""
    rows = (*(_row(situation, node) for node in situation.cluster.nodes), *_strangers(situation))
    voters = [one for one in view.listed(situation) if one.manager]
    wanted = len(voters) or len(situation.cluster.members)
    healthy = sum(one.reachable for one in voters)
    waiting = _waiting(stopped, situation, healthy, wanted)
    well = view.is_running(situation) and healthy == wanted and all(row[3] == "healthy" for row in rows) and not waiting
    return Status(
        f"{healthy} of {wanted} managers healthy{_quorum(healthy, wanted)}",
        well,
        (Table("members", "Swarm", COLUMNS, rows),),
        {name: (_daemon(situation, name), _started(facts)) for name, facts in situation.facts.items()},
        (_certificates(situation), *waiting),
    )


def _certificates(situation: Situation) -> Table:
    """Return the certificates that the nodes show to the swarm, and their ends."""
    now = datetime.now(UTC)
    leaves = [one for one in validity.found(situation) if one.what.startswith("leaf")]
    rows = tuple((one.what.removeprefix("leaf "), f"{one.end:%Y-%m-%d}", left(one.end, now)) for one in leaves)
    return Table("certificates", "Certificates", ("certificate", "end", "left"), rows)


def _daemon(situation: Situation, name: str) -> str:
    facts = situation.facts[name]
    state = view.daemon(facts).state
    if not facts.docker_answers:
        return facts.unit(layout.DOCKER_UNIT).state
    return "in the swarm" if state == "active" else f"swarm: {state}"


def _waiting(
    stopped: Mapping[str, Sequence[str]], situation: Situation, healthy: int, wanted: int
) -> tuple[Table, ...]:
    """Say what waits for what, and why. Nothing, where nothing waits."""
    rows = [
        (name, f"container {one}", f"for {layout.MEND_UNIT}, which starts it when its network can be joined")
        for name, names in stopped.items()
        for one in names
    ]
    if not view.is_running(situation):
        why = f"for a quorum of the managers: of {wanted}, {majority(wanted)} are needed, and {healthy} answer"
        rows = [*((node.name, "a container that joins a network", why) for node in view.active(situation)), *rows]
    return (Table("waiting", "Waiting", ("node", "what", "for what"), tuple(rows)),) if rows else ()


def _started(facts: Facts) -> str:
    """Return how many containers were started on a node since its boot, because Docker could not: see node/mend.sh."""
    there = facts.paths.get(paths.STARTED)
    return (there.text or "").strip() or "0" if there else "0"


def _row(situation: Situation, node: Node) -> tuple[str, ...]:
    daemon, there = view.daemon(situation.of(node)), view.found(situation, node)
    if there is None:
        return node.name, "", "", "no quorum" if daemon.manager else daemon.state or "no answer"
    role = "leader" if there.leader else "manager" if there.manager else "worker"
    well = there.ready and (there.reachable or not there.manager)
    return node.name, there.version, role, "healthy" if well else "no answer"


def _strangers(situation: Situation) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (one.hostname, one.version, "not in the inventory", "healthy" if one.ready else "no answer")
        for one in leaving.entries(situation)
        if leaving.host(situation, one) is None
    )


def _quorum(healthy: int, managers: int) -> str:
    more = spare(managers, healthy)
    if more < 0:
        return (
            f"; no quorum (needs {majority(managers)}): containers go on, but none can join a network until "
            "managers are back"
        )
    if more:
        return f"; the swarm takes changes, and does so with {more} fewer"
    return "; the swarm takes changes" + (", and no more managers may be lost" if healthy < managers else "")
