"""The managers' port refuses wrong clients, and denies calls without a certificate; Docker's API has no port.

Docker lets a client without a certificate connect: a new node asks for its certificate like this, with a token. So this
client is the right one, which proves the road; and its calls are refused one by one.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision import layout
from provision.checks import listeners, refusals
from provision.checks.scratch import Scratch, on_each_member, on_each_node
from provision.checks.tls_probe import Answer, Client, dial, knock, written
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.errors import Problem, StepFailed
from provision.inventory.model import Node
from provision.pki import certificates
from provision.pki.bad_certificates import copied
from provision.planes.swarm import rpc, view
from provision.planes.swarm.ports import MANAGEMENT_PORT

#: The ports of Docker's API, without TLS and with it. This control plane opens neither.
API_PORTS = (2375, 2376)
#: A client as Docker admits it: it has no certificate yet.
NEWCOMER = Client("a client without a certificate")
#: What a manager tells everybody: its authority's certificate.
ROAD = "CA/GetRootCACertificate"
#: Calls that only nodes of the swarm may make, one of each kind; an empty message of theirs changes nothing.
CLOSED = ("Control/ListNodes", "Dispatcher/Heartbeat", "RaftMembership/Leave", "CA/GetUnlockKey")

_ADVICE = "on the node: journalctl -u docker.service, ss -lntp 'sport = :2377'"


@dataclass(frozen=True)
class Door:
    """A manager's port. `local`: the controller's port that leads to it. `name`: one that its certificate has."""

    local: int
    name: str
    authority: Path

    def ask(self, client: Client) -> Answer:
        """Let a client connect."""
        return knock(client, self.local, self.name, self.authority)

    def shown(self) -> bytes:
        """Return the manager's certificate, in DER."""
        with dial(NEWCOMER, self.local, self.name, self.authority) as stream:
            return (stream.getpeercert(binary_form=True) if isinstance(stream, ssl.SSLSocket) else None) or b""

    def call(self, client: Client, *methods: str) -> dict[str, rpc.Reply]:
        """Let a client call methods of the manager, on one connection."""
        with dial(client, self.local, self.name, self.authority) as stream:
            return rpc.call(stream, self.name, methods)


@contextmanager
def door(made: Scratch) -> Iterator[Door]:
    """Yield the port of a manager. Its name and authority are what its own Docker tells through SSH. StepFailed."""
    info = made.api.info()
    if not (authority := view.trusted(info)):
        raise StepFailed(Problem("its Docker manages no swarm", made.node.name, "fab plan"))
    with written({"authority": authority}) as files:
        yield Door(made.remote().tunnel(MANAGEMENT_PORT), info["Swarm"]["NodeID"], files["authority"])


@check("security")
@on_each_member
def wrong_clients_are_refused(made: Scratch) -> Outcome:
    """A manager refuses plain text, TLS 1.1, and a certificate like its own that another authority has signed.

    A certificate with another flaw would have to be signed by the swarm's authority, and its key is not ours to use.
    """
    with door(made) as manager, wrong_clients(manager) as clients:
        seen = refusals.tried(MANAGEMENT_PORT, manager.ask, NEWCOMER, clients)
    return refusals.judged(made.node, [seen], _ADVICE)


@contextmanager
def wrong_clients(manager: Door) -> Iterator[tuple[Client, ...]]:
    """Yield one client of each wrong kind. The certificate is in a file that is removed at the end."""
    from cryptography import x509

    forged = copied(x509.load_der_x509_certificate(manager.shown()), certificates.new_key())
    with written({"forged": forged}) as files:
        yield (
            Client("plain text", speaks=None),
            Client("foreign authority", files["forged"]),
            Client("TLS 1.1", speaks=ssl.TLSVersion.TLSv1_1),
        )


@check("security")
@on_each_member
def nothing_without_a_certificate(made: Scratch) -> Outcome:
    """A manager tells a client without a certificate its authority's, and denies it the calls that are for nodes."""
    with door(made) as manager:
        replies = manager.call(NEWCOMER, ROAD, *CLOSED)
        return judged(made.node, replies, manager.authority.read_bytes())


def judged(node: Node, replies: Mapping[str, rpc.Reply], authority: bytes) -> Outcome:
    """Return an outcome that names the calls that were not refused for the lack of a certificate."""
    road = replies[ROAD]
    if road.status != rpc.OK or authority.strip() not in road.body:
        told = f"{ROAD}: {road}" if road.status != rpc.OK else f"{ROAD} returns another authority"
        return failed(node.name, f"nothing is proven: {told}", _ADVICE)
    others = {method: reply for method, reply in replies.items() if method != ROAD}
    wrong = [f"{method}: {reply}" for method, reply in others.items() if reply.status != rpc.PERMISSION_DENIED]
    if wrong:
        return failed(node.name, f"not denied without a certificate: {'; '.join(wrong)}", _ADVICE)
    return passed(node.name, f"{ROAD} is answered, {len(others)} are denied: {', '.join(others)}")


@check("security")
@on_each_node
def no_port_of_dockers_api(made: Scratch) -> Outcome:
    """Nothing listens on the ports of Docker's API, and nothing on the managers' port of a node that is none."""
    ports = API_PORTS if made.node.member else (*API_PORTS, MANAGEMENT_PORT)
    why = "whoever reaches Docker's API is root, and this control plane needs no port for it"
    return listeners.closed(made, ports, layout.GOSSIP_PORT, why)
