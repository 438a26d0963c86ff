"""status: what the cluster looks like now, as its own daemons tell it. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from provision import inventory, layout, pki, validity
from provision.api import Clients
from provision.checks.preflight import version_of
from provision.errors import ConnectionFailed, Exit
from provision.inventory.model import Node
from provision.remote import Remote, in_parallel
from provision.report import Report, Table
from provision.situation import Situation
from provision.subnets import assigned
from provision.verbs.session import Session

T = TypeVar("T")

#: Whether the node's dockerd is on the store; how many rows were mended; then what should run here, and says that it
#: could not be started.
_STATE = r"""
[ -e %s ] || { echo none; exit 0; }
[ -e %s ] && echo joined || echo waits
cat %s 2>/dev/null || echo 0
timeout 10 docker ps -aq --filter status=exited --filter status=created | xargs -r docker inspect --format \
    '{{if .State.Error}}{{if ne .HostConfig.RestartPolicy.Name "no"}}{{slice .Name 1}}{{end}}{{end}}' | grep .
true
"""
#: What listens on the nodes, and what keeps others from reading and writing there.
_PORTS = (
    (f"{layout.STORE_PORT}/tcp", "etcd: clients", "mutual TLS"),
    (f"{layout.PEER_PORT}/tcp", "etcd: members", "mutual TLS"),
    (f"{layout.DOCKER_PORT}/tcp", "the Docker API", "mutual TLS"),
    (f"{layout.GOSSIP_PORT}/tcp, udp", "Docker's gossip", "nothing: clear text"),
    (f"{layout.VXLAN_PORT}/udp", "what containers send", "nothing: clear text"),
)
_DAEMON = {"joined": "on the store", "waits": "without the store"}


@dataclass(frozen=True)
class State:
    """What a dockerd is at: `joined`, `waits` for the store, or `none` of ours; and what it could not start.

    `mended` is how many rows of its networks were mended since the boot: see node/mend.sh.
    """

    daemon: str
    mended: str = ""
    containers: tuple[str, ...] = ()


def run_status(session: Session, *, store: bool) -> Report:
    """Return members, nodes, networks, certificates; with `store` the tree under /docker as each member holds it."""
    with session.looked() as look, session.clients(look.remotes, look.situation.identity) as clients:
        situation = look.situation
        if not situation.facts:
            raise ConnectionFailed(*look.unreached)
        members = _members(session, situation, clients) if situation.identity.get(pki.CONTROLLER_STORE) else ()
        states = look.remotes.each(_state)
        waiting = _waiting(states, members, len(session.cluster.members))
        tables = [
            Table("members", "Store", ("node", "etcd", "role", "health", "database"), members),
            _nodes(session, situation, states),
            _networks(session, situation),
            ports(situation),
            _certificates(session, situation),
            *waiting,
        ]
        if store:
            tables.append(_store(session, clients))
    healthy = sum(row[3] == "healthy" for row in members)
    wanted = len(session.cluster.members)
    return Report(
        "status",
        f"{healthy} of {wanted} members healthy" + _quorum(healthy, wanted) + _missing(session, situation),
        Exit.VERIFICATION_FAILED if healthy < wanted or look.unreached or waiting else Exit.DONE,
        tables=tuple(tables),
        warnings=(*inventory.warnings(session.cluster), *validity.warnings(situation)),
        problems=look.unreached,
    )


def _quorum(healthy: int, members: int) -> str:
    needed = members // 2 + 1
    if healthy < needed:
        return f"; no quorum (needs {needed}): containers go on, but none can join a network until members are back"
    if spare := healthy - needed:
        return f"; the store takes writes, and does so with {spare} fewer"
    # With all of them up, the inventory's warning has said that none may be lost.
    return "; the store takes writes" + (", and no more members may be lost" if healthy < members else "")


def _missing(session: Session, situation: Situation) -> str:
    names = [node.name for node in session.cluster.nodes if node.name not in situation.facts]
    return f"; not reached: {', '.join(names)}" if names else ""


def _tried(attempt: Callable[[], T | None]) -> T | None:
    try:
        return attempt()
    except Exception:  # whatever it says: it does not answer, and that is what the table shows
        return None


def _members(session: Session, situation: Situation, clients: Clients) -> tuple[tuple[str, ...], ...]:
    def row(node: Node) -> tuple[str, ...]:
        status = _tried(partial(_asked, clients, node))
        if status is None:
            # One that finds no leader after its start answers nobody.
            alone = situation.of(node).unit(layout.ETCD_UNIT).running
            return (node.name, "", "", "no quorum" if alone else "no answer", "")
        role = "leader" if status.leader and status.leader.name == node.name else "follower"
        health = "healthy" if _tried(partial(_reads, clients, node)) else "no quorum"
        return (node.name, status.version, role, health, f"{status.db_size / 1024:.0f} KiB")

    return tuple(in_parallel(row, session.cluster.members))


def _asked(clients: Clients, node: Node) -> Any:
    return clients.etcd(node).status()


def _reads(clients: Clients, node: Node) -> bool:
    """Read through the quorum: a member alone cannot."""
    clients.store(node).get("/")
    return True


def _state(remote: Remote) -> State:
    """Ask a node what its dockerd is at; containers that would run and cannot wait with it."""
    script = _STATE % (layout.STORE_PROGRAM, layout.DOCKER_JOINED, layout.MENDED_ROWS)
    first, *more = remote.run(script, timeout=30, what="a look at Docker").stdout.splitlines() or [""]
    return State(first, more[0], tuple(more[1:])) if more else State(first)


def _waiting(states: Mapping[str, State], members: Sequence[Sequence[str]], wanted: int) -> tuple[Table, ...]:
    """Say what waits for what, and why. Nothing, where nothing waits."""
    silent = ", ".join(row[0] for row in members if row[3] == "no answer")
    healthy = sum(row[3] == "healthy" for row in members)
    why = "for the store: it answers, and takes dockerd in now"
    if not healthy:
        why = f"for the store: of {wanted} members {wanted // 2 + 1} are needed"
        why += f", no answer from {silent}" if silent else ""
    rows = [
        row
        for name, state in states.items()
        if state.daemon == "waits"
        for row in ((name, "dockerd", why), *((name, f"container {one}", "for dockerd") for one in state.containers))
    ]
    return (Table("waiting", "Waiting", ("node", "what", "for what"), tuple(rows)),) if rows else ()


def _nodes(session: Session, situation: Situation, states: Mapping[str, State]) -> Table:
    def row(node: Node) -> tuple[str, ...]:
        if node.name not in states:
            return (node.name, node.address, "", "not reached", "", "", "")
        facts = situation.of(node)
        daemon = _DAEMON.get(states[node.name].daemon, "answers")
        names = [container.name for container in facts.containers]
        return (
            node.name,
            node.address,
            version_of(facts.values.get("dockerd", "")),
            daemon if facts.docker_answers else facts.unit("docker.service").state,
            states[node.name].mended,
            str(len(names)),
            ", ".join(names[:8]) + (" …" if names[8:] else ""),
        )

    columns = ("node", "address", "docker", "daemon", "rows mended", "containers", "names")
    return Table("nodes", "Nodes", columns, tuple(map(row, session.cluster.nodes)))


def _networks(session: Session, situation: Situation) -> Table:
    rows = []
    for name, subnet in assigned(situation).items():
        seen = {
            node.name: found["Id"]
            for node in session.cluster.nodes
            for found in situation.of(node).networks
            if found["Name"] == name
        }
        identities = sorted({identity[:12] for identity in seen.values()})
        rows.append((name, str(subnet), " ".join(identities) or "none", ", ".join(seen) or "nowhere"))
    return Table("networks", "Networks", ("network", "subnet", "id", "on"), tuple(rows))


def ports(situation: Situation) -> Table:
    """Say what protects each port, and who reaches it: where nothing does, that matters. Pure."""
    unguarded = [name for name, facts in situation.facts.items() if layout.FIREWALL_TABLE not in facts.tables]
    everywhere = len(unguarded) == len(situation.facts)
    others = "whoever reaches the node" if everywhere else f"whoever reaches {', '.join(unguarded)}"
    rows = tuple((*port, others if unguarded else "the nodes only") for port in _PORTS)
    return Table("ports", "Ports", ("port", "for", "protected by", "open to"), rows)


def _certificates(session: Session, situation: Situation) -> Table:
    """Return each leaf that the controller holds, and its end."""
    now = situation.identity.moment
    ends = {kept.what: kept.end for kept in situation.identity.kept}
    rows = tuple(
        (str(leaf), f"{end:%Y-%m-%d}", validity.left(end, now)) if end else (str(leaf), "", "missing")
        for leaf in pki.leaves(session.cluster)
        for end in [ends.get(f"leaf {leaf}")]
    )
    return Table("certificates", "Certificates", ("certificate", "end", "left"), rows)


def _store(session: Session, clients: Clients) -> Table:
    trees = {node.name: dict(_leaves(_tried(partial(_tree, clients, node)) or {})) for node in session.cluster.members}
    keys = sorted({key for tree in trees.values() for key in tree})
    rows = tuple((key, *(tree.get(key, "absent") for tree in trees.values())) for key in keys)
    return Table("store", "Store below /docker", ("key", *trees), rows)


def _tree(clients: Clients, node: Node) -> Mapping[str, Any]:
    return clients.store(node).get("/docker", quorum=False) or {}


def _leaves(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "value" in entry:
        value = entry["value"]
        yield entry["key"], value if len(value) <= 60 else f"{value[:57]}…"
    for below in entry.get("nodes", ()):
        yield from _leaves(below)
