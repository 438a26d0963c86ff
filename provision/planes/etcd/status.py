"""What `status` shows of this control plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from provision import layout
from provision.checks import outgrown
from provision.core.membership import majority, spare
from provision.core.plane import Status
from provision.core.situation import Situation
from provision.core.table import Table
from provision.core.validity import left
from provision.docker.stopped import COULD_NOT_START
from provision.inventory.model import Cluster, Node
from provision.planes.etcd import membership, paths, pki, validity
from provision.planes.etcd.local import local
from provision.remote import Remote, in_parallel

if TYPE_CHECKING:
    from provision.planes.etcd.coordinator import EtcdCoordinator

T = TypeVar("T")

#: Whether the node's dockerd is on the store, and how many rows were mended.
_STATE = r"""
[ -e %s ] || { echo none; exit 0; }
[ -e %s ] && echo joined || echo waits
cat %s 2>/dev/null || echo 0
"""
_DAEMON = {"joined": "on the store", "waits": "without the store", "outgrown": "too new for the store"}


@dataclass(frozen=True)
class State:
    """What a dockerd is at: `joined`, `waits` for the store, `outgrown` (it is too new for one), or `none` of ours; and
    what it could not start.

    `mended` is how many rows of its networks were mended since the boot: see planes/etcd/node/mend.sh.
    """

    daemon: str
    mended: str = ""
    containers: tuple[str, ...] = ()


class Row(NamedTuple):
    """A member, as its table shows it; what is unknown is empty."""

    node: str
    etcd: str = ""
    role: str = ""
    health: str = ""
    database: str = ""


def status(coordinator: EtcdCoordinator, situation: Situation, *, store: bool) -> Status:
    """Return members, daemons and certificates; with `store` the tree under /docker as each member holds it."""
    unasked = validity.unasked(situation)
    members = (*(_unasked(coordinator) if unasked else _members(coordinator, situation)), *_strangers(situation))
    states = _with_outgrown(coordinator.remotes.each(_state), situation)
    # The store counts those that it lists, whatever the inventory says.
    wanted = len(membership.membership(situation).voters) or len(coordinator.cluster.members)
    healthy = sum(row.health == "healthy" for row in members)
    waiting = _waiting(states, members, wanted)
    summary = f"{healthy} of {wanted} members healthy" + _quorum(healthy, wanted) + _differing(situation)
    return Status(
        unasked[0].what if unasked else summary,
        healthy == wanted and not waiting and not _differing(situation),
        (Table("members", "Store", Row._fields, members),),
        {name: (_daemon(situation, name, state), state.mended) for name, state in states.items()},
        (
            _certificates(coordinator.cluster, situation),
            *waiting,
            *((_store(coordinator),) if store and not unasked else ()),
        ),
    )


def _daemon(situation: Situation, name: str, state: State) -> str:
    facts = situation.facts[name]
    return _DAEMON.get(state.daemon, "answers") if facts.docker_answers else facts.unit(layout.DOCKER_UNIT).state


def _quorum(healthy: int, members: int) -> str:
    more = spare(members, healthy)
    if more < 0:
        needed = majority(members)
        return f"; no quorum (needs {needed}): containers go on, but none can join a network until members are back"
    if more:
        return f"; the store takes writes, and does so with {more} fewer"
    # With all of them up, the inventory's warning has said that none may be lost.
    return "; the store takes writes" + (", and no more members may be lost" if healthy < members else "")


def _differing(situation: Situation) -> str:
    """Say where the store's list and the inventory differ."""
    there = membership.membership(situation)
    if not there.found:
        return ""
    empty = {member.url for member in there.replaced}
    parts = {
        "not in the store yet": [member for member in there.joining if member.url not in empty],
        "without their data": there.replaced,
        "not in the inventory": there.unwanted,
    }
    return "".join(f"; {what}: {', '.join(map(str, some))}" for what, some in parts.items() if some)


def _tried(attempt: Callable[[], T | None]) -> T | None:
    try:
        return attempt()
    except Exception:  # whatever it says: it does not answer, and that is what the table shows
        return None


def _members(coordinator: EtcdCoordinator, situation: Situation) -> tuple[Row, ...]:
    def row(node: Node) -> Row:
        status = _tried(partial(_asked, coordinator, node))
        if status is None:
            # One that finds no leader after its start answers nobody.
            alone = situation.of(node).unit(paths.ETCD_UNIT).running
            return Row(node.name, health="no quorum" if alone else "no answer")
        role = "leader" if status.leader and status.leader.name == node.name else "follower"
        health = "healthy" if _tried(partial(_reads, coordinator, node)) else "no quorum"
        return Row(node.name, status.version, role, health, f"{status.db_size / 1024:.0f} KiB")

    return tuple(in_parallel(row, coordinator.cluster.members))


def _unasked(coordinator: EtcdCoordinator) -> tuple[Row, ...]:
    return tuple(Row(node.name, health="not asked") for node in coordinator.cluster.members)


def _strangers(situation: Situation) -> tuple[Row, ...]:
    """Return the members that the store lists and the inventory does not know."""
    return tuple(
        Row(str(member), role="not in the inventory", health="healthy" if member.healthy else "no answer")
        for member in membership.membership(situation).unwanted
    )


def _asked(coordinator: EtcdCoordinator, node: Node) -> Any:
    return coordinator.v3(node, lambda client: client.status())


def _reads(coordinator: EtcdCoordinator, node: Node) -> bool:
    """Read through the quorum: a member alone cannot."""
    coordinator.store(node).get("/")
    return True


def _state(remote: Remote) -> State:
    """Ask a node what its dockerd is at; containers that would run and cannot wait with it."""
    script = _STATE % (paths.STORE_PROGRAM, paths.DOCKER_JOINED, paths.MENDED_ROWS) + COULD_NOT_START
    first, *more = remote.run(script, timeout=30, what="a look at Docker").stdout.splitlines() or [""]
    return State(first, more[0], tuple(more[1:])) if more else State(first)


def _with_outgrown(states: Mapping[str, State], situation: Situation) -> Mapping[str, State]:
    """Return the states, with those marked that wait for what they cannot use."""
    from provision.planes.etcd.plane import PLANE  # which imports the coordinator, and that this module

    too_new = outgrown.versions(PLANE, situation)
    return {
        name: replace(state, daemon="outgrown") if name in too_new and state.daemon == "waits" else state
        for name, state in states.items()
    }


def _waiting(states: Mapping[str, State], members: Sequence[Row], wanted: int) -> tuple[Table, ...]:
    """Say what waits for what, and why. Nothing, where nothing waits."""
    silent = ", ".join(row.node for row in members if row.health == "no answer")
    healthy = sum(row.health == "healthy" for row in members)
    why = "for the store: it answers, and takes dockerd in now"
    if not healthy:
        why = f"for the store: of {wanted} members {majority(wanted)} are needed"
        why += f", no answer from {silent}" if silent else ""
    reasons = {"waits": "for dockerd", "outgrown": "for a control plane that this Docker can use"}
    rows = [
        row
        for name, state in states.items()
        if state.daemon in reasons
        for row in (
            *([(name, "dockerd", why)] if state.daemon == "waits" else []),
            *((name, f"container {one}", reasons[state.daemon]) for one in state.containers),
        )
    ]
    return (Table("waiting", "Waiting", ("node", "what", "for what"), tuple(rows)),) if rows else ()


def _certificates(cluster: Cluster, situation: Situation) -> Table:
    """Return each leaf that the controller holds, and its end."""
    identity = local(situation).identity
    now = identity.moment
    ends = {kept.what: kept.end for kept in identity.kept}
    rows = tuple(
        (str(leaf), f"{end:%Y-%m-%d}", left(end, now)) if end else (str(leaf), "", "missing")
        for leaf in pki.leaves(cluster)
        for end in [ends.get(f"leaf {leaf}")]
    )
    return Table("certificates", "Certificates", ("certificate", "end", "left"), rows)


def _store(coordinator: EtcdCoordinator) -> Table:
    """Return each key below /docker, and its value in each member's copy."""
    trees = {
        node.name: dict(_leaves(_tried(partial(_tree, coordinator, node)) or {}))
        for node in coordinator.cluster.members
    }
    keys = sorted({key for tree in trees.values() for key in tree})
    rows = tuple((key, *(tree.get(key, "absent") for tree in trees.values())) for key in keys)
    return Table("store", "Store", ("key", *trees), rows, is_tree=True)


def _tree(coordinator: EtcdCoordinator, node: Node) -> Mapping[str, Any]:
    return coordinator.store(node).get("/docker", quorum=False) or {}


def _leaves(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "value" in entry:
        yield entry["key"], entry["value"]
    for below in entry.get("nodes", ()):
        yield from _leaves(below)
