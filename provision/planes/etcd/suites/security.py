"""The ports: who has not the right certificate is refused at each of them, and nothing listens in plain text.

Tunnels end on the node, so that every knock comes from its own address: what a member's peer certificate has to name.
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
    """A port of a node, and the leaf of somebody who is let in at it."""

    node: Node
    port: int
    leaf: pki.Leaf

    def is_for(self, leaf: pki.Leaf) -> bool:
        """Say whether somebody with this leaf is let in: a client of its authority; a member from its own address."""
        own = self.leaf.address in (None, leaf.address)
        return leaf.client and leaf.authority == self.leaf.authority and own


def doors(node: Node) -> tuple[Door, ...]:
    """Return the ports of a node that somebody with a certificate is let in at."""
    docker = Door(node, ports.DOCKER_PORT, pki.CONTROLLER_DOCKER)
    store = Door(node, ports.STORE_PORT, pki.CONTROLLER_STORE)
    peer = Door(node, ports.PEER_PORT, pki.peer_leaf(node))
    return (docker, store, peer) if node.member else (docker,)


@dataclass(frozen=True)
class Tried:
    """What came of all the clients at one port; the right one knocked before the others and after them."""

    port: int
    right: tuple[Answer, Answer]
    wrong: Mapping[str, Answer]

    def named(self, *kinds: str) -> list[str]:
        """Return the wrong clients with such an answer."""
        return [name for name, answer in self.wrong.items() if answer.kind in kinds]


@check("security")
@on_each_node
def wrong_clients_are_refused(made: Scratch) -> Outcome:
    """No port lets in plain text, TLS 1.1, or a client whose certificate is missing or has one thing wrong."""
    cluster, identity = made.proof.cluster, opened(made.proof.coordinator).identity
    tried = []
    for door in doors(made.node):
        with wrong_clients(cluster, identity, door) as clients:
            tried.append(_tried(made, door, clients))
    return judged(made.node, tried)


@check("security")
@on_each_node
def certificates_open_one_port_alone(made: Scratch) -> Outcome:
    """No port lets in anybody with a certificate of the cluster that is for another port, or for another member."""
    cluster, identity = made.proof.cluster, opened(made.proof.coordinator).identity
    tried = [_tried(made, door, strangers(cluster, identity, door)) for door in doors(made.node)]
    return judged(made.node, tried, "the cluster's certificates for other ports and members")


@check("security")
@on_each_node
def nothing_on_the_plain_port(made: Scratch) -> Outcome:
    """Nothing listens on Docker's port for plain text, at any address."""
    told = made.remote().run(_LISTENERS, what="a look at what listens").stdout
    open_ports = set(listening(told))
    if ports.DOCKER_PORT not in open_ports:
        return failed(made.node.name, f"nothing listens on {ports.DOCKER_PORT}: nothing is proven", _ADVICE)
    if PLAIN_PORT in open_ports:
        advice = f"on the node: ss -lntp 'sport = :{PLAIN_PORT}' names who; whoever reaches it is root there"
        return failed(made.node.name, f"something listens on {PLAIN_PORT}", advice)
    return passed(made.node.name, f"nothing listens on {PLAIN_PORT}; somebody does on {len(open_ports)} others")


def listening(told: str) -> Iterator[int]:
    """Walk the ports that somebody listens on, from /proc/net/tcp and tcp6."""
    for words in map(str.split, told.splitlines()):
        if len(words) > 3 and words[3] == "0A":  # the kernel's number for it
            yield int(words[1].rpartition(":")[2], 16)


def judged(node: Node, tried: Sequence[Tried], whom: str = "") -> Outcome:
    """Say which port let somebody in; else how many tries were refused at which, and of whom: by default by name."""
    unproven = [
        f"{one.port}: nothing is proven, as the right client is not let in: {answer.words or 'it hung up'}"
        for one in tried
        for answer in one.right
        if answer.kind != "admitted"
    ]
    let_in = [f"{one.port} lets in: {', '.join(names)}" for one in tried if (names := one.named("admitted", "silent"))]
    if let_in or unproven:
        return failed(node.name, "; ".join(let_in + unproven), _ADVICE)
    counts = {one.port: len(one.named("refused")) for one in tried}
    ports = ", ".join(f"{port}: {count}" for port, count in counts.items())
    told = f"{sum(counts.values())} tries refused ({ports}): {whom or ', '.join(tried[0].named('refused'))}"
    unable = {name: one.wrong[name].words for one in tried for name in one.named("unable")}
    if unable:
        why = "; ".join(f"{name}: {words}" for name, words in unable.items())
        return not_tried(node.name, f"{why}; {told}", "run verify where OpenSSL can be such a client")
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
    """Give each kind of wrong client. What they show is in files that go in the end."""
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
    """Walk those who have a certificate of the cluster, and are not let in here."""
    for leaf in pki.leaves(cluster):
        if not door.is_for(leaf):
            yield Client(str(leaf), *identity.paths(leaf))
