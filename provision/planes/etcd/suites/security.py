"""The ports: each refuses clients without the right certificate, and none accepts plain text.

Tunnels end on the node, so that every connection comes from the node's own address. A member's peer certificate has to
name the address that it comes from.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from provision.checks.scratch import Scratch, on_each_node
from provision.checks.tls_probe import Answer, Client, knock, written
from provision.core.check import check
from provision.core.outcome import Outcome, failed, not_tried, passed
from provision.inventory.model import Cluster, Node
from provision.pki.bad_certificates import wrong
from provision.planes.etcd import pki, ports
from provision.planes.etcd.coordinator import opened

#: Docker's port without TLS.
PLAIN_PORT = 2375

_ADVICE = "fab plan; on the node: journalctl -u etcd -u docker"
_LISTENERS = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"


@dataclass(frozen=True)
class Door:
    """A port of a node, and the leaf of a client that it admits."""

    node: Node
    port: int
    leaf: pki.Leaf

    def is_for(self, leaf: pki.Leaf) -> bool:
        """Return whether the port admits this leaf: a client of its authority; the peer port only its own member."""
        own = self.leaf.address in (None, leaf.address)
        return leaf.client and leaf.authority == self.leaf.authority and own


def doors(node: Node) -> tuple[Door, ...]:
    """Return the ports of a node that admit clients with a certificate."""
    docker = Door(node, ports.DOCKER_PORT, pki.CONTROLLER_DOCKER)
    store = Door(node, ports.STORE_PORT, pki.CONTROLLER_STORE)
    peer = Door(node, ports.PEER_PORT, pki.peer_leaf(node))
    return (docker, store, peer) if node.member else (docker,)


@dataclass(frozen=True)
class Tried:
    """The answers of one port to all clients. The right client connects before the wrong ones and after them."""

    port: int
    right: tuple[Answer, Answer]
    wrong: Mapping[str, Answer]

    def named(self, *kinds: str) -> list[str]:
        """Return the names of the wrong clients that got one of these kinds of answer."""
        return [name for name, answer in self.wrong.items() if answer.kind in kinds]


@check("security")
@on_each_node
def wrong_clients_are_refused(made: Scratch) -> Outcome:
    """Every port refuses plain text, TLS 1.1, and clients whose certificate is missing or wrong in one way."""
    cluster, identity = made.proof.cluster, opened(made.proof.coordinator).identity
    tried = []
    for door in doors(made.node):
        with wrong_clients(cluster, identity, door) as clients:
            tried.append(_tried(made, door, clients))
    return judged(made.node, tried)


@check("security")
@on_each_node
def certificates_open_one_port_alone(made: Scratch) -> Outcome:
    """Every port refuses the cluster's certificates for other ports and members: a leaked one opens one port only."""
    cluster, identity = made.proof.cluster, opened(made.proof.coordinator).identity
    tried = [_tried(made, door, strangers(cluster, identity, door)) for door in doors(made.node)]
    return judged(made.node, tried, "the cluster's certificates for other ports and members")


@check("security")
@on_each_node
def nothing_on_the_plain_port(made: Scratch) -> Outcome:
    """Nothing listens on Docker's port for plain text: whoever reaches it is root on the node."""
    told = made.remote().run(_LISTENERS, what="reading the open ports").stdout
    open_ports = set(listening(told))
    if ports.DOCKER_PORT not in open_ports:
        return failed(made.node.name, f"nothing listens on {ports.DOCKER_PORT}: nothing is proven", _ADVICE)
    if PLAIN_PORT in open_ports:
        advice = f"on the node, find the process: ss -lntp 'sport = :{PLAIN_PORT}'; whoever reaches the port is root"
        return failed(made.node.name, f"something listens on {PLAIN_PORT}", advice)
    return passed(made.node.name, f"nothing listens on {PLAIN_PORT}, but on {len(open_ports)} other ports")


def listening(told: str) -> Iterator[int]:
    """Yield the TCP ports with a listener, from /proc/net/tcp and tcp6."""
    for words in map(str.split, told.splitlines()):
        if len(words) > 3 and words[3] == "0A":  # the kernel's number for LISTEN
            yield int(words[1].rpartition(":")[2], 16)


def judged(node: Node, tried: Sequence[Tried], whom: str = "") -> Outcome:
    """Return an outcome: the ports that admitted a wrong client, or how many tries each port refused.

    `whom` describes the wrong clients; by default they are named.
    """
    unproven = [
        f"{one.port}: nothing is proven, because the right client is refused: "
        f"{answer.words or 'the daemon closed the connection'}"
        for one in tried
        for answer in one.right
        if answer.kind != "admitted"
    ]
    let_in = [f"{one.port} admits: {', '.join(names)}" for one in tried if (names := one.named("admitted", "silent"))]
    if let_in or unproven:
        return failed(node.name, "; ".join(let_in + unproven), _ADVICE)
    counts = {one.port: len(one.named("refused")) for one in tried}
    ports = ", ".join(f"{port}: {count}" for port, count in counts.items())
    told = f"{sum(counts.values())} tries refused ({ports}): {whom or ', '.join(tried[0].named('refused'))}"
    unable = {name: one.wrong[name].words for one in tried for name in one.named("unable")}
    if unable:
        why = "; ".join(f"{name}: {words}" for name, words in unable.items())
        return not_tried(node.name, f"{why}; {told}", "run verify on a machine whose OpenSSL supports this")
    return passed(node.name, told)


def _tried(made: Scratch, door: Door, clients: Iterable[Client]) -> Tried:
    identity = opened(made.proof.coordinator).identity
    port = made.remote().tunnel(door.port)
    at = partial(knock, port=port, address=door.node.address, authority=identity.authority_path(door.leaf.authority))
    right = Client("the right client", *identity.paths(door.leaf))
    before = at(right)
    answers = {client.name: at(client) for client in clients}
    return Tried(door.port, (before, at(right)), answers)


@contextmanager
def wrong_clients(cluster: Cluster, identity: pki.Identity, door: Door) -> Iterator[tuple[Client, ...]]:
    """Yield one client of each wrong kind. Their certificates are in files that are removed at the end."""
    signer = identity.signers[door.leaf.authority]
    right = identity.paths(door.leaf)
    with written(wrong(door.leaf, signer, cluster.name, datetime.now(UTC))) as shown:
        yield (
            Client("plain text", speaks=None),
            Client("no certificate"),
            *(Client(name, path) for name, path in shown.items()),
            Client("TLS 1.1", *right, speaks=ssl.TLSVersion.TLSv1_1),
        )


def strangers(cluster: Cluster, identity: pki.Identity, door: Door) -> Iterator[Client]:
    """Yield clients with a certificate of the cluster that the port must refuse."""
    for leaf in pki.leaves(cluster):
        if not door.is_for(leaf):
            yield Client(str(leaf), *identity.paths(leaf))
