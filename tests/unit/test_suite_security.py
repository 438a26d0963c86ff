"""The suite security as values: what each check makes of what was answered and of what a node tells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pki_sample import sample

from provision.checks import key_files, listeners, refusals
from provision.checks.key_files import Held
from provision.checks.refusals import Tried
from provision.checks.tls_probe import Answer
from provision.inventory.model import Cluster, Node
from provision.planes.etcd import pki
from provision.planes.etcd.pki import Authority, Identity
from provision.planes.etcd.suites import key_permissions
from provision.planes.etcd.suites.security import Door, doors, strangers

ADMITTED, REFUSED = Answer("admitted", "HTTP/1.0 200 OK"), Answer("refused", "SSLV3_ALERT_BAD_CERTIFICATE")
UNABLE, SILENT = Answer("unable", "NO_PROTOCOLS_AVAILABLE"), Answer("silent", "")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return sample(tmp_path)


@pytest.fixture
def member(cluster: Cluster) -> Node:
    return cluster.nodes[0]


def tried(port: int, *right: Answer, **wrong: Answer) -> Tried:
    before, after = right or (ADMITTED, ADMITTED)
    return Tried(port, (before, after), wrong)


def at(cluster: Cluster, node: Node, port: int) -> Door:
    return next(door for door in doors(cluster, node) if door.port == port)


def test_a_member_has_three_ports_another_node_one(cluster: Cluster) -> None:
    found = [sorted(door.port for door in doors(cluster, node)) for node in cluster.nodes]
    assert found == [[2376, 2379, 2380]] * 2 + [[2376]]


def test_335_a_members_port_is_tried_with_the_certificate_of_the_host_from_which_it_is_tried(cluster: Cluster) -> None:
    """A host with several addresses may come to itself from another one than that of its certificate."""
    one, two, _ = cluster.nodes
    assert [(at(cluster, node, 2380).source, at(cluster, node, 2380).leaf) for node in (one, two)] == [
        (two, pki.peer_leaf(two)),
        (one, pki.peer_leaf(one)),
    ]
    alone = replace(cluster, nodes=(one,))
    assert at(alone, one, 2380).source == one
    assert at(cluster, one, 2376).source == at(cluster, one, 2379).source == one


def test_83_refused_tries_are_counted_and_named(member: Node) -> None:
    outcome = refusals.judged(member, [tried(2376, a=REFUSED, b=REFUSED), tried(2379, a=REFUSED, b=REFUSED)], "")
    assert (outcome.status, outcome.evidence) == ("passed", "4 tries refused (2376: 2, 2379: 2): a, b")


@pytest.mark.parametrize("answer", [ADMITTED, SILENT])
def test_83_one_that_is_not_refused_is_named_with_its_port(member: Node, answer: Answer) -> None:
    outcome = refusals.judged(member, [tried(2376, a=REFUSED, b=REFUSED), tried(2379, a=answer, b=UNABLE)], "")
    assert (outcome.status, outcome.evidence) == ("failed", "2379 admits: a")


@pytest.mark.parametrize("right", [(REFUSED, ADMITTED), (ADMITTED, UNABLE)])
def test_83_a_refusal_proves_nothing_where_the_right_client_is_refused_too(
    member: Node, right: tuple[Answer, ...]
) -> None:
    outcome = refusals.judged(member, [tried(2376, a=REFUSED), tried(2379, *right, a=REFUSED)], "")
    assert outcome.status == "failed"
    assert outcome.evidence.startswith("2379: nothing is proven, because the right client is refused: ")


def test_83_what_this_machine_cannot_try_is_said_with_the_reason(member: Node) -> None:
    outcome = refusals.judged(member, [tried(2376, **{"a": REFUSED, "TLS 1.1": UNABLE})], "")
    assert outcome.status == "warning"
    assert outcome.evidence == "not tried: TLS 1.1: NO_PROTOCOLS_AVAILABLE; 1 tries refused (2376: 1): a"


def test_84_a_certificate_is_tried_at_every_port_but_its_own(cluster: Cluster, member: Node) -> None:
    identity = Identity.read(cluster)
    shown = {
        port: [one.name for one in strangers(cluster, identity, at(cluster, member, port))]
        for port in (2376, 2379, 2380)
    }
    every = [str(leaf) for leaf in pki.leaves(cluster)]
    assert shown[2376] == [name for name in every if name != "docker/controller"]
    assert shown[2379] == [name for name in every if not name.startswith(Authority.CLIENT)]
    assert shown[2380] == [name for name in every if name != "etcd-peer/node2-peer"]
    assert "etcd-peer/node1-peer" in shown[2380]


def test_83_listening_ports_are_read_of_both_protocols() -> None:
    told = (
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 0100007F:0947 00000000:0000 0A 00000000:00000000\n"
        "   1: 0100007F:0948 0200007F:C000 01 00000000:00000000\n"
        "   2: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000\n"
    )
    assert list(listeners.listening(told)) == [2375, 22]


@pytest.mark.parametrize(
    ("there", "status", "evidence"),
    [
        ({2376, 22}, "passed", "nothing listens on 2375, 2377, but on 2 other ports"),
        ({2376, 2375, 2377}, "failed", "something listens on 2375, 2377"),
        ({22}, "failed", "nothing listens on 2376: nothing is proven"),
    ],
)
def test_83_an_open_port_that_must_be_closed_is_named(
    member: Node, there: set[int], status: str, evidence: str
) -> None:
    outcome = listeners.judged(member, frozenset(there), (2375, 2377), 2376, "")
    assert (outcome.status, outcome.evidence) == (status, evidence)


def test_85_every_kind_has_its_mode_and_owner(member: Node) -> None:
    found = list(key_files.read(_told(member)))
    outcome = key_permissions.judged(member, found)
    assert (outcome.status, outcome.evidence) == (
        "passed",
        "4 keys 400, 1 certificates at most 444; /var/lib/etcd: 700 etcd:etcd, /var/lib/etcd/data: 700 etcd:etcd, "
        "/run/docker.sock: 660 root:docker",
    )


def _told(node: Node) -> str:
    kinds = {"/run/docker.sock": "socket", "/var/lib/etcd": "folder", "/var/lib/etcd/data": "folder"}
    right = [
        f"{kinds.get(path, 'key')}\t{mode:o}\t{owner}\t{path}"
        for path, (mode, owner) in key_permissions.rules(node).must.items()
    ]
    return "\n".join((*right, "certificate\t444\troot:root\t/etc/docker/overlay/ca.crt", "other\t644\ta:a\t/etc/x\ty"))


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Held("key", 0o440, "root:root", "/etc/docker/overlay/server.key"), "440 root:root, not 400 root:root"),
        (Held("key", 0o400, "root:root", "/etc/etcd/pki/peer.key"), "400 root:root, not 400 etcd:etcd"),
        (Held("key", 0o644, "etcd:etcd", "/etc/etcd/pki/copy"), "644 etcd:etcd, not 400 etcd:etcd"),
        (Held("certificate", 0o644, "root:root", "/etc/etcd/pki/peer.crt"), "644 root:root, not at most 444"),
        (Held("folder", 0o750, "etcd:etcd", "/var/lib/etcd/data"), "750 etcd:etcd, not 700 etcd:etcd"),
        (Held("socket", 0o666, "root:docker", "/run/docker.sock"), "666 root:docker, not 660 root:docker"),
    ],
)
def test_85_what_is_open_wider_is_named_with_what_it_may_be(member: Node, one: Held, said: str) -> None:
    right = [held for held in key_files.read(_told(member)) if held.path != one.path]
    outcome = key_permissions.judged(member, [*right, one])
    assert (outcome.status, outcome.evidence) == ("failed", f"{one.path}: {said}")


def test_85_what_is_missing_is_named(cluster: Cluster) -> None:
    outcome = key_permissions.judged(cluster.nodes[2], [Held("socket", 0o660, "root:docker", key_files.SOCKET)])
    assert outcome.status == "failed"
    assert outcome.evidence == "/etc/docker/overlay/server.key is not there; /etc/docker/overlay/store.key is not there"


def test_86_keys_are_counted_and_an_authoritys_is_named_with_its_path(member: Node) -> None:
    keys = key_permissions.rules(member).keys
    own = "".join(f"\t{path}\n" for path in keys)
    authorities = {"04aa": "docker", "04bb": "etcd-peer"}
    good = key_files.judged_copies(member, own, authorities, keys, "")
    assert (good.status, good.evidence) == (
        "passed",
        "4 files with a private key, none of an authority (docker, etcd-peer)",
    )
    bad = key_files.judged_copies(member, f"{own}04bb 04aa 04bb \t/root/copy\n", authorities, keys, "")
    assert (bad.status, bad.evidence) == ("failed", "/root/copy holds the key of the authority docker and etcd-peer")


def test_86_a_search_that_does_not_find_the_nodes_own_keys_proves_nothing(member: Node) -> None:
    own = key_permissions.rules(member).keys
    outcome = key_files.judged_copies(member, f"\t{own[0]}\n", {"04aa": "docker"}, own, "")
    assert outcome.status == "failed"
    assert outcome.evidence.startswith("nothing is proven")


def test_87_a_key_that_is_seen_beside_its_file_is_named(member: Node) -> None:
    own = "".join(f"{path}\n" for path in key_permissions.rules(member).keys)
    assert key_permissions.judged_sight(member, own).evidence.endswith("and there was no journal of a daemon to read")
    own += "read journal\n"
    good = key_permissions.judged_sight(member, own)
    assert (good.status, good.evidence) == (
        "passed",
        "4 keys: in no arguments, no environment, and no journal of a daemon",
    )
    bad = key_permissions.judged_sight(member, f"{own}/proc/7/environ\njournal\n")
    assert (bad.status, bad.evidence) == ("failed", "a key of this node is seen in /proc/7/environ, journal")
    assert key_permissions.judged_sight(member, "").evidence.startswith("nothing is proven")
