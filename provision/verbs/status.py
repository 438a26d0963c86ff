"""status: what the cluster looks like now, as its own daemons tell it. Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from provision import inventory, pki
from provision.api import Clients
from provision.checks.preflight import version_of
from provision.errors import Exit
from provision.inventory.model import Node
from provision.report import Report, Table
from provision.situation import Situation
from provision.subnets import assigned
from provision.verbs.session import Session

T = TypeVar("T")


def run_status(session: Session, *, store: bool) -> Report:
    """Return members, nodes, networks, certificates; with `store` the tree under /docker as each member holds it."""
    with session.asked() as (remotes, situation), session.clients(remotes, situation.identity) as clients:
        members = _members(session, clients) if situation.identity.get(pki.CONTROLLER_STORE) else ()
        tables = [
            Table("members", "Store", ("node", "etcd", "role", "health", "database"), members),
            _nodes(session, situation),
            _networks(session, situation),
            _certificates(session, situation),
        ]
        if store:
            tables.append(_store(session, clients))
    healthy = sum(row[3] == "healthy" for row in members)
    wanted = len(session.cluster.members)
    return Report(
        "status",
        f"{healthy} of {wanted} members healthy" + _quorum(healthy, wanted),
        Exit.DONE if healthy == wanted else Exit.VERIFICATION_FAILED,
        tables=tuple(tables),
        warnings=inventory.warnings(session.cluster),
    )


def _quorum(healthy: int, members: int) -> str:
    needed = members // 2 + 1
    if healthy < needed:
        return f"; no quorum (needs {needed}): containers go on, but none can join a network until members are back"
    if spare := healthy - needed:
        return f"; the store takes writes, and does so with {spare} fewer"
    # With all of them up, the inventory's warning has said that none may be lost.
    return "; the store takes writes" + (", and no more members may be lost" if healthy < members else "")


def _tried(attempt: Callable[[], T | None]) -> T | None:
    try:
        return attempt()
    except Exception:  # whatever it says: it does not answer, and that is what the table shows
        return None


def _members(session: Session, clients: Clients) -> tuple[tuple[str, ...], ...]:
    rows = []
    for node in session.cluster.members:
        status = _tried(clients.etcd(node).status)
        wrote = status is not None and bool(_tried(partial(_reads, clients, node)))
        if status is None:
            rows.append((node.name, "", "", "no answer", ""))
            continue
        role = "leader" if status.leader and status.leader.name == node.name else "follower"
        health = "healthy" if wrote else "no quorum"
        rows.append((node.name, status.version, role, health, f"{status.db_size / 1024:.0f} KiB"))
    return tuple(rows)


def _reads(clients: Clients, node: Node) -> bool:
    """Read through the quorum: a member alone cannot."""
    clients.store(node).get("/")
    return True


def _nodes(session: Session, situation: Situation) -> Table:
    def row(node: Node) -> tuple[str, ...]:
        facts = situation.of(node)
        names = [container.name for container in facts.containers]
        return (
            node.name,
            node.address,
            version_of(facts.values.get("dockerd", "")),
            "answers" if facts.docker_answers else facts.unit("docker.service").state,
            str(len(names)),
            ", ".join(names[:8]) + (" …" if names[8:] else ""),
        )

    columns = ("node", "address", "docker", "daemon", "containers", "names")
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


def _certificates(session: Session, situation: Situation) -> Table:
    """Return each leaf that the controller holds, and its end."""
    rows = []
    for leaf in pki.leaves(session.cluster):
        issued = situation.identity.get(leaf)
        if issued is None:
            rows.append((str(leaf), "", "missing or to be renewed"))
            continue
        end = pki.expiry(issued.certificate)
        rows.append((str(leaf), f"{end:%Y-%m-%d}", f"{(end - datetime.now(UTC)).days} days"))
    return Table("certificates", "Certificates", ("certificate", "end", "left"), tuple(rows))


def _store(session: Session, clients: Clients) -> Table:
    trees = {
        node.name: dict(_leaves(_tried(partial(clients.store(node).get, "/docker", quorum=False)) or {}))
        for node in session.cluster.members
    }
    keys = sorted({key for tree in trees.values() for key in tree})
    rows = tuple((key, *(tree.get(key, "absent") for tree in trees.values())) for key in keys)
    return Table("store", "Store below /docker", ("key", *trees), rows)


def _leaves(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "value" in entry:
        value = entry["value"]
        yield entry["key"], value if len(value) <= 60 else f"{value[:57]}…"
    for below in entry.get("nodes", ()):
        yield from _leaves(below)
