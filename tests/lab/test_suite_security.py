"""The suite security: every wrong client is refused, for the one thing that is wrong with it; each check can fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Fab, MakeLab
from control_server import let_in
from observe import document, run, seeded
from proofs import connected, red

from provision.checks import catalogue
from provision.checks.proof import Proof
from provision.core.check import matching
from provision.lab import Lab
from provision.planes.etcd.coordinator import opened
from provision.planes.etcd.pki import Authority
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.suites.security import doors, wrong_clients

pytestmark = [pytest.mark.lab, pytest.mark.filterwarnings("ignore:ssl.TLSVersion.* is deprecated")]

WRONG, OPEN = "security/wrong-clients-are-refused", "security/certificates-open-one-port-alone"
PLAIN, CLOSED = "security/nothing-on-the-plain-port", "security/keys-and-data-are-closed"
AUTHORITIES, SEEN = "security/no-key-of-an-authority", "security/keys-are-in-no-process"
WITHOUT = "no certificate, expired certificate, foreign authority, wrong extended key usage"
#: The beginning of each check's evidence when it passes.
COUNTED = {
    WRONG: f"18 tries refused (2376: 6, 2379: 6, 2380: 6): plain text, {WITHOUT}, TLS 1.1",
    OPEN: "23 tries refused (2376: 9, 2379: 5, 2380: 9): ",
    CLOSED: "4 keys 400, 8 certificates at most 444; ",
    AUTHORITIES: "5 files with a private key, none of an authority",  # the fifth key is sshd's
    PLAIN: "nothing listens on 2375",
    SEEN: "4 keys: in no arguments, no environment, and no journal of a daemon",
}

#: The daemons' reasons, in Go's words. About plain text, dockerd tells only its client ("400 Bad Request").
PLAIN_TEXT = "first record does not look like a TLS handshake"
AGAINST = (
    "client didn't provide a certificate",
    "certificate has expired or is not yet valid",
    "certificate signed by unknown authority",
    "certificate specifies an incompatible key usage",
    "client offered only unsupported versions",
)

LENIENT = r"""
cp /etc/etcd/etcd.env /etc/systemd/system/docker.service.d/50-overlay.conf /run
sed -i -e 's,^\(ETCD_LISTEN_CLIENT_URLS=\)https\(.*\),\1https\2\,http\2,' \
    -e '/^ETCD_CLIENT_CERT_AUTH/d' -e '/^ETCD_TRUSTED_CA_FILE/d' /etc/etcd/etcd.env
sed -i 's/--tlsverify/--tls --tlsverify=false/' /etc/systemd/system/docker.service.d/50-overlay.conf
systemctl daemon-reload
systemctl restart etcd docker
"""
STRICT = """
cp /run/etcd.env /etc/etcd && mv /run/50-overlay.conf /etc/systemd/system/docker.service.d
systemctl daemon-reload
systemctl restart etcd docker
"""
#: Connections to the host's peer port lead to a server that accepts everything, TLS 1.1 included.
OLD = """
systemd-run -q --unit old openssl s_server -accept ADDRESS:12380 -www -quiet -verify 2 -min_protocol TLSv1 \
    -cipher ALL:@SECLEVEL=0 -cert /etc/etcd/pki/peer.crt -key /etc/etcd/pki/peer.key -CAfile /etc/etcd/pki/peer-ca.crt
until ss -H -lnt 'sport = :12380' | grep -q .; do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def secured(lab: Lab, fab: Fab) -> Lab:
    document(fab(lab, "provision", "--json"))
    return lab


@pytest.fixture(scope="module")
def proof(secured: Lab) -> Iterator[Proof]:
    with connected(secured) as made:
        yield made


def test_83_84_each_wrong_client_is_refused_for_its_one_flaw(secured: Lab, fab: Fab, proof: Proof) -> None:
    identity = opened(proof.coordinator).identity
    for node in proof.cluster.nodes:
        for door in doors(proof.cluster, node):
            with wrong_clients(proof.cluster, identity, door) as clients:
                assert [client.name for client in clients if not let_in(identity, door, client)] == []
    report = document(fab(secured, "verify", "--only", "^security/", "--json"))
    told = [one for one in report["outcomes"] if one["check"].startswith("security/")]
    assert {one["check"] for one in told} == {
        str(check) for check in matching(catalogue.of_verify(PLANE), "^security/", "")
    }
    assert {one["status"] for one in report["outcomes"]} == {"passed"}
    for one in told:
        print(f"{one['where']} {one['check']}: {one['evidence']}")
        assert one["evidence"].startswith(COUNTED[one["check"]])
    for node in secured.nodes:
        other = next(one for one in secured.nodes if one != node)
        of_another = f"certificate is valid for {node.address}, not {other.address}"
        for unit, against in (("docker", AGAINST), ("etcd", (*AGAINST, PLAIN_TEXT, of_another))):
            journal = run(secured, node.name, f"journalctl -o cat -u {unit}")
            assert [words for words in against if words not in journal] == [], unit


def test_83_84_daemons_that_ask_for_no_certificate_are_named_with_whom_they_let_in(secured: Lab, proof: Proof) -> None:
    with seeded(secured, "node2", LENIENT, STRICT):
        wrong, others = red(proof, WRONG), red(proof, OPEN)
    assert wrong == {"node2": f"2376 admits: {WITHOUT}; 2379 admits: plain text, {WITHOUT}"}
    assert list(others) == ["node2"]
    assert "2379 admits: etcd-peer/node1-peer, docker/node1-server" in others["node2"]
    assert (red(proof, WRONG), red(proof, OPEN)) == ({}, {})


def test_83_84_a_server_that_speaks_old_tls_is_named(secured: Lab, proof: Proof) -> None:
    address = secured.nodes[1].address
    rule = f"PREROUTING -p tcp -d {address} --dport 2380 -j DNAT --to-destination {address}:12380"
    breaks = f"{OLD.replace('ADDRESS', address)}\niptables -t nat -I {rule}"
    with seeded(secured, "node2", breaks, f"iptables -t nat -D {rule}; systemctl stop old"):
        wrong, others = red(proof, WRONG), red(proof, OPEN)
    assert wrong == {"node2": f"2380 admits: {WITHOUT}, TLS 1.1"}
    assert others["node2"].startswith("2380 admits: etcd-client/node1-server")
    assert (red(proof, WRONG), red(proof, OPEN)) == ({}, {})


@pytest.mark.whole
def test_335_the_address_of_a_node_is_a_secondary_one_of_its_host(make_lab: MakeLab, fab: Fab) -> None:
    lab = make_lab()
    one, two = (node.address for node in lab.nodes)
    other = f"{two.rpartition('.')[0]}.200"
    run(lab, "node2", f"ip address add {other}/24 dev eth0 && ip route replace {one} dev eth0 src {other}")
    assert f"src {two} " in run(lab, "node2", f"ip -o route get {other}")
    path = lab.folder / "secondary.yml"
    path.write_text(lab.inventory.read_text().replace(f"node2: {{address: {two}}}", f"node2: {{address: {other}}}"))
    document(fab(lab, "provision", "--json", inventory=path))
    report = document(fab(lab, "verify", "--only", "^security/", "--json", inventory=path))
    assert {one["status"] for one in report["outcomes"]} == {"passed"}


def test_83_where_the_right_client_is_refused_too_nothing_is_proven(secured: Lab, proof: Proof) -> None:
    rule = "INPUT -i lo -p tcp --dport 2379 -j REJECT --reject-with tcp-reset"
    with seeded(secured, "node2", f"iptables -I {rule}", f"iptables -D {rule}"):
        said = red(proof, WRONG)
    assert list(said) == ["node2"]
    assert said["node2"].startswith("2379: nothing is proven, because the right client is refused")
    assert red(proof, WRONG) == {}


def test_83_a_listener_in_plain_text_is_named(secured: Lab, proof: Proof) -> None:
    listen = "systemd-run -q --unit plain systemd-socket-activate -l 127.0.0.1:2375 cat"
    heard = "until ss -H -lnt 'sport = :2375' | grep -q .; do sleep 0.1; done"
    with seeded(secured, "node2", f"{listen}\n{heard}", "systemctl stop plain"):
        assert red(proof, PLAIN) == {"node2": "something listens on 2375"}
    assert red(proof, PLAIN) == {}


def test_85_whatever_is_open_wider_than_it_may_be_is_named(secured: Lab, proof: Proof) -> None:
    breaks = """
        install -m 644 -o etcd -g etcd /etc/etcd/pki/peer.key /etc/etcd/pki/copy
        chmod 644 /etc/docker/overlay/ca.crt
        chmod 755 /var/lib/etcd
        chmod 666 /run/docker.sock
    """
    mends = """
        rm /etc/etcd/pki/copy
        chmod 444 /etc/docker/overlay/ca.crt
        chmod 700 /var/lib/etcd
        chmod 660 /run/docker.sock
    """
    with seeded(secured, "node1", breaks, mends):
        said = red(proof, CLOSED)
    assert {name: set(words.split("; ")) for name, words in said.items()} == {
        "node1": {
            "/etc/etcd/pki/copy: 644 etcd:etcd, not 400 etcd:etcd",
            "/etc/docker/overlay/ca.crt: 644 root:root, not at most 444",
            "/var/lib/etcd: 755 etcd:etcd, not 700 etcd:etcd",
            "/run/docker.sock: 666 root:docker, not 660 root:docker",
        }
    }
    assert red(proof, CLOSED) == {}


def test_86_an_authoritys_key_on_a_node_is_named(secured: Lab, proof: Proof) -> None:
    copies = {"node1": (Authority.DOCKER, "/root/copy.pem"), "node2": (Authority.PEER, "/tmp/copy.pem")}
    for name, (authority, path) in copies.items():
        key = opened(proof.coordinator).identity.folder / authority / "ca.key"
        proof.coordinator.remotes[name].push(key.read_bytes(), path)
    try:
        said = red(proof, AUTHORITIES)
    finally:
        for name, (_, path) in copies.items():
            run(secured, name, f"rm {path}")
    assert said == {
        "node1": "/root/copy.pem holds the key of the authority docker",
        "node2": "/tmp/copy.pem holds the key of the authority etcd-peer",
    }
    assert red(proof, AUTHORITIES) == {}


def test_87_a_process_that_shows_a_key_is_named(secured: Lab, proof: Proof) -> None:
    breaks = """
        KEY="$(cat /etc/docker/overlay/store.key)" setsid sh -c 'echo $$ >/run/shows; sleep 1000; :' \\
            "$(cat /etc/etcd/pki/peer.key)" >/dev/null 2>&1 &
        until [ -s /run/shows ]; do sleep 0.1; done
    """
    with seeded(secured, "node1", breaks, "kill -- -$(cat /run/shows); rm /run/shows"):
        process = run(secured, "node1", "cat /run/shows").strip()
        said = red(proof, SEEN)
    assert list(said) == ["node1"]
    assert f"/proc/{process}/cmdline" in said["node1"]
    assert f"/proc/{process}/environ" in said["node1"]
    assert red(proof, SEEN) == {}
