"""Swarm mode's suite security: wrong clients are refused; each check can fail; a stranger reaches no port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from closed import OPEN, SILENT, UDP, dropped, knocked, send
from conftest import Fab, MakeLab
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from invariants import await_so
from observe import document, run, seeded
from proofs import connected, red

from provision.checks import catalogue
from provision.checks.proof import Proof
from provision.checks.scratch import Scratch
from provision.checks.tls_probe import Answer, Client, written
from provision.core.check import matching
from provision.lab import Lab
from provision.pki import certificates
from provision.pki.bad_certificates import copied
from provision.planes.swarm import rpc
from provision.planes.swarm.plane import PLANE
from provision.planes.swarm.suites.key_permissions import RAFT
from provision.planes.swarm.suites.security import CLOSED, NEWCOMER, ROAD, Door, door, judged

pytestmark = [pytest.mark.lab, pytest.mark.filterwarnings("ignore:ssl.TLSVersion.* is deprecated")]

MANAGERS, WORKER = ("node1", "node2"), "node3"
WRONG, CALLS = "security/wrong-clients-are-refused", "security/nothing-without-a-certificate"
PORTS, KEYS = "security/no-port-of-dockers-api", "security/keys-and-data-are-closed"
COPIES = "security/no-key-of-an-authority"
SWARM = "/var/lib/docker/swarm"
KEY = f"{SWARM}/certificates/swarm-node.key"
#: The beginning of each check's evidence when it passes.
COUNTED = {
    WRONG: "3 tries refused (2377: 3): plain text, foreign authority, TLS 1.1",
    CALLS: f"{ROAD} is answered, 4 are denied: ",
    PORTS: "nothing listens on 2375, 2376",
    KEYS: f"1 keys 600, 2 certificates at most 644; {SWARM}: 700 root:root",
    COPIES: "2 files with a private key, none of an authority (swarm)",  # the other key is sshd's
}

#: Connections from the host to its managers' port lead to a server that accepts everything, TLS 1.1 included. OpenSSL
#: cannot read a key with the headers that Docker adds.
LENIENT = r"""
umask 077; sed '/: /d; /^$/d' KEY >/run/lenient.key
systemd-run -q --unit lenient openssl s_server -accept ADDRESS:12377 -www -quiet -verify 2 -min_protocol TLSv1 \
    -cipher ALL:@SECLEVEL=0 -cert SWARM/certificates/swarm-node.crt -key /run/lenient.key \
    -CAfile SWARM/certificates/swarm-root-ca.crt
until ss -H -lnt 'sport = :12377' | grep -q .; do sleep 0.1; done
""".replace("KEY", KEY).replace("SWARM", SWARM)


@pytest.fixture(scope="module")
def secured(make_lab: MakeLab, fab: Fab) -> Lab:
    """Two managers, and a worker that was a manager, behind the host firewall."""
    lab = make_lab(3, release="trixie")
    text = f"firewall: true\n{lab.inventory.read_text()}"
    lab.inventory.write_text(text)
    document(fab(lab, "provision", "--json"))
    line = f"  {WORKER}: {{address: {lab.nodes[2].address}"
    lab.inventory.write_text(text.replace(line, f"{line}, member: false"))
    document(fab(lab, "provision", "--yes", "--json"))
    return lab


@pytest.fixture(scope="module")
def proof(secured: Lab) -> Iterator[Proof]:
    with connected(secured, PLANE) as made:
        yield made


def test_83_84_85_86_the_suite_passes_and_says_what_it_counted(secured: Lab, fab: Fab) -> None:
    report = document(fab(secured, "verify", "--only", "^security/", "--json"))
    told = [one for one in report["outcomes"] if one["check"].startswith("security/")]
    assert {one["check"] for one in told} == {
        str(check) for check in matching(catalogue.of_verify(PLANE), "^security/", "")
    }
    for one in told:
        print(f"{one['where']} {one['check']} {one['seconds']}: {one['evidence']}")
    assert {one["status"] for one in report["outcomes"]} == {"passed"}
    assert [one["evidence"] for one in told if not one["evidence"].startswith(COUNTED[one["check"]])] == []
    seen = {check: [one["where"] for one in told if one["check"] == check] for check in COUNTED}
    assert seen == {check: [*MANAGERS] if check in (WRONG, CALLS) else [*MANAGERS, WORKER] for check in COUNTED}


def test_83_a_server_in_the_managers_place_that_lets_everybody_in_is_named(secured: Lab, proof: Proof) -> None:
    address = secured.nodes[1].address
    rule = f"OUTPUT -p tcp -d {address} --dport 2377 -j DNAT --to-destination {address}:12377"
    breaks = f"{LENIENT.replace('ADDRESS', address)}\niptables -t nat -I {rule}"
    mends = f"iptables -t nat -D {rule}; systemctl stop lenient; rm /run/lenient.key"
    with seeded(secured, "node2", breaks, mends):
        wrong, calls = red(proof, WRONG), red(proof, CALLS)
    assert wrong == {"node2": "2377 admits: foreign authority, TLS 1.1"}
    assert list(calls) == ["node2"]
    assert (red(proof, WRONG), red(proof, CALLS)) == ({}, {})


def test_83_where_the_right_client_is_refused_too_nothing_is_proven(secured: Lab, proof: Proof) -> None:
    rule = "INPUT -i lo -p tcp --dport 2377 -j REJECT --reject-with tcp-reset"
    with seeded(secured, "node2", f"iptables -I {rule}", f"iptables -D {rule}"):
        wrong, calls = red(proof, WRONG), red(proof, CALLS)
    assert list(wrong) == list(calls) == ["node2"]
    assert (red(proof, WRONG), red(proof, CALLS)) == ({}, {})


@pytest.mark.parametrize(("node", "port"), [("node2", 2375), ("node2", 2376), (WORKER, 2377)])
def test_83_a_listener_on_a_port_that_must_be_closed_is_named(secured: Lab, proof: Proof, node: str, port: int) -> None:
    listen = f"systemd-run -q --unit listener systemd-socket-activate -l 127.0.0.1:{port} cat"
    heard = f"until ss -H -lnt 'sport = :{port}' | grep -q .; do sleep 0.1; done"
    with seeded(secured, node, f"{listen}\n{heard}", "systemctl stop listener"):
        assert red(proof, PORTS) == {node: f"something listens on {port}"}
    assert red(proof, PORTS) == {}


def test_85_whatever_is_open_wider_than_it_may_be_is_named(secured: Lab, proof: Proof) -> None:
    breaks = f"""
        chmod 644 {KEY}
        chmod 666 {SWARM}/certificates/swarm-root-ca.crt /run/docker.sock
        chmod 755 {SWARM}
    """
    mends = f"""
        chmod 600 {KEY}
        chmod 644 {SWARM}/certificates/swarm-root-ca.crt
        chmod 660 /run/docker.sock
        chmod 700 {SWARM}
    """
    with (
        seeded(secured, "node1", breaks, mends),
        seeded(secured, WORKER, f"mkdir {SWARM}/{RAFT[0]}", f"rmdir {SWARM}/{RAFT[0]}"),
    ):
        said = red(proof, KEYS)
    assert {name: set(words.split("; ")) for name, words in said.items()} == {
        "node1": {
            f"{KEY}: 644 root:root, not 600 root:root",
            f"{SWARM}/certificates/swarm-root-ca.crt: 666 root:root, not at most 644",
            "/run/docker.sock: 666 root:docker, not 660 root:docker",
            f"{SWARM}: 755 root:root, not 700 root:root",
        },
        WORKER: {f"{SWARM}/{RAFT[0]} is there"},
    }
    assert red(proof, KEYS) == {}


def test_83_a_host_that_is_no_node_reaches_no_port(secured: Lab) -> None:
    assert knocked(secured, WORKER, "node1", (2377, 7946)) == {2377: OPEN, 7946: OPEN}
    for node in (*MANAGERS, WORKER):
        ports = (2377, 7946) if node in MANAGERS else (7946,)
        assert knocked(secured, "jump", node, ports) == dict.fromkeys(ports, SILENT)
        before = dropped(secured, node)["udp"]
        send(secured, "jump", node)
        await_so(
            secured, node, f"nft list chain inet overlay_provision guard | grep -q 'packets {before + 3 * len(UDP)} '"
        )


@dataclass(frozen=True)
class Known:
    """The swarm's authority, whose key the test has, and a manager with a certificate of it."""

    key: EllipticCurvePrivateKey
    manager: Door

    def copied(self, **flaw: Any) -> bytes:
        """Return a copy of the manager's certificate that the authority has signed, with a flaw."""
        return copied(self.shown, self.key, **flaw)

    @property
    def shown(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.manager.shown())

    @property
    def worker(self) -> x509.Name:
        """The subject of a worker with the manager's ID."""
        unit = x509.NameOID.ORGANIZATIONAL_UNIT_NAME
        names = self.shown.subject
        return x509.Name([x509.NameAttribute(unit, "swarm-worker") if one.oid == unit else one for one in names])

    def ask(self, pem: bytes) -> Answer:
        with written({"copy": pem}) as files:
            return self.manager.ask(Client("a copy", files["copy"]))

    def call(self, pem: bytes) -> dict[str, rpc.Reply]:
        with written({"copy": pem}) as files:
            return self.manager.call(Client("a copy", files["copy"]), ROAD, *CLOSED)


@pytest.fixture(scope="module")
def known(secured: Lab, proof: Proof) -> Iterator[Known]:
    """Give the swarm an authority of the test's own."""
    key = certificates.new_key()
    root = certificates.sign_authority("demo", "swarm-ca", key, datetime.now(UTC))
    remote = proof.coordinator.remotes["node1"]
    remote.push(certificates.certificate_pem(root), "/run/ca.crt")
    remote.push(certificates.key_pem(key), "/run/ca.key")
    run(
        secured,
        "node1",
        "docker swarm ca --rotate --quiet --ca-cert /run/ca.crt --ca-key /run/ca.key && rm /run/ca.crt /run/ca.key",
    )
    with Scratch(proof, proof.cluster.nodes[1]) as made, door(made) as manager:
        yield Known(key, manager)


def test_83_each_flaw_of_a_certificate_is_refused_though_the_swarms_authority_has_signed_it(known: Known) -> None:
    assert known.ask(known.copied()).kind == "admitted"
    expired = known.ask(known.copied(ended=datetime.now(UTC) - timedelta(hours=1)))
    usage = known.ask(known.copied(client=False))
    assert (expired.kind, usage.kind) == ("refused", "refused")
    assert expired.words.endswith("CERTIFICATE_EXPIRED")
    assert "UNKNOWN_CA" not in usage.words
    assert known.ask(known.copied()).kind == "admitted"


def test_84_a_call_is_answered_to_a_manager_and_denied_to_a_worker(known: Known, proof: Proof) -> None:
    node, authority = proof.cluster.nodes[1], known.manager.authority.read_bytes()
    answered = known.call(known.copied())
    assert answered["Control/ListNodes"].status == answered["CA/GetUnlockKey"].status == rpc.OK
    outcome = judged(node, answered, authority)
    assert outcome.status == "failed"
    assert "Control/ListNodes: status 0" in outcome.evidence
    of_worker = known.call(known.copied(subject=known.worker))
    assert of_worker["Control/ListNodes"].status == of_worker["CA/GetUnlockKey"].status == rpc.PERMISSION_DENIED
    assert judged(node, known.manager.call(NEWCOMER, ROAD, *CLOSED), authority).status == "passed"


def test_86_the_authoritys_key_on_a_node_is_named(secured: Lab, known: Known, proof: Proof) -> None:
    copies = {"node1": "/root/copy.pem", WORKER: f"{SWARM}/copy.pem"}
    for name, path in copies.items():
        proof.coordinator.remotes[name].push(certificates.key_pem(known.key), path)
    try:
        said = red(proof, COPIES)
    finally:
        for name, path in copies.items():
            run(secured, name, f"rm {path}")
    assert said == {name: f"{path} holds the key of the authority swarm" for name, path in copies.items()}
    assert red(proof, COPIES) == {}
