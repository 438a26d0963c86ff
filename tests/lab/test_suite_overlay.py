"""The suite overlay: it passes on two hosts and leaves nothing, and each check fails during a fault made for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest
from conftest import Fab
from observe import document, run
from proofs import connected, outcomes, red

from provision.checks import catalogue, probes
from provision.checks.probe_pool import new_keepers, probe_pool
from provision.checks.proof import Proof
from provision.checks.suites import networks, traffic
from provision.checks.temporary import temporary
from provision.core.check import matching
from provision.lab import Lab
from provision.planes.etcd.coordinator import opened
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.suites.endpoints import ENDPOINTS, in_store

pytestmark = pytest.mark.lab

SUITES = "^(etcd|overlay)/"
LABELLED = "docker ps -aq -f label=overlay-provision.run; docker network ls -q -f label=overlay-provision.run"
#: Print how many threads of dockerd are in other network namespaces than the host's: one thread watches each network.
ASTRAY = """
home=$(readlink /proc/1/ns/net)
for task in /proc/"$(pidof dockerd)"/task/*; do readlink "$task/ns/net"; done | grep -vcF "$home"
"""


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    document(fab(lab, "provision", "--json"))
    return lab


@pytest.fixture(scope="module")
def proof(cluster: Lab) -> Iterator[Proof]:
    with connected(cluster) as made:
        yield made


def keys(proof: Proof) -> set[str]:
    """Return Docker's keys and folders in the store. Folders of existing networks are left out: they appear later."""

    def walk(node: dict[str, list[dict[str, str]]]) -> Iterator[str]:
        yield str(node["key"])
        for below in node.get("nodes", ()):
            yield from walk(below)

    there = {one["Id"] for node in proof.cluster.nodes for one in proof.coordinator.docker(node).api.networks()}
    found = walk(dict(opened(proof.coordinator).store().get("/docker") or {}))
    return {key for key in found if key.rpartition("/")[2] not in there}


def test_both_suites_are_green_and_leave_nothing(cluster: Lab, fab: Fab, proof: Proof) -> None:
    before = keys(proof)
    report = document(fab(cluster, "verify", "--only", SUITES, "--json"))
    made = {outcome["check"] for outcome in report["outcomes"]} - {"plan/nothing-pending"}
    print(f"{len(made)} checks, {len(report['outcomes'])} outcomes: {report['summary']}")
    assert made == {str(check) for check in matching(catalogue.of_verify(PLANE), SUITES, "")}
    assert {outcome["status"] for outcome in report["outcomes"]} == {"passed"}
    assert keys(proof) == before
    for node in cluster.nodes:
        assert run(cluster, node.name, LABELLED) == ""
        assert run(cluster, node.name, "ls -d /run/overlay-provision.*-* 2>/dev/null || true") == ""
        assert run(cluster, node.name, ASTRAY).strip() == "1"


@dataclass(frozen=True)
class Fault:
    """A fault: the scripts that cause and end it on node2, the places where the check fails, and its evidence there."""

    check: str
    breaks: str
    mends: str
    where: tuple[str, ...]
    said: str


BOTH_WAYS = ("node1 → node2", "node2 → node1")
#: Isolate the port of every container on the overlay on this host: it reaches containers of other hosts only.
ISOLATE = """
touch /run/spoilt
(while [ -e /run/spoilt ]; do
    for port in $(ports); do in_overlay bridge link set dev "$port" isolated on; done
    sleep 0.05
done) >/dev/null 2>&1 &
"""
MEND_PORTS = """
rm /run/spoilt; sleep 0.3
for port in $(ports); do in_overlay bridge link set dev "$port" isolated off; done
"""
PORTS = """
in_overlay() { nsenter --net="$(echo /run/docker/netns/*-*)" "$@"; }
ports() { in_overlay ip -o link show type veth | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'; }
"""
#: Replaces sha256sum with one that changes a byte before it hashes.
SPOILT_SUM = r"""
cat >/usr/local/sbin/sha256sum <<'EOF'
#!/bin/sh
{ head -c 1000; head -c 1 | tr '\000-\377' '\001-\377\000'; cat; } | /usr/bin/sha256sum "$@"
EOF
chmod 755 /usr/local/sbin/sha256sum
"""
FAULTS = (
    Fault(
        "containers-of-one-host-reach-each-other",
        PORTS + ISOLATE,
        PORTS + MEND_PORTS,
        ("node2, twice",),
        "by address nor by name",
    ),
    Fault(
        "tcp-and-udp",
        "iptables -I INPUT -p udp --dport 4789 -j DROP",
        "iptables -D INPUT -p udp --dport 4789 -j DROP",
        BOTH_WAYS,
        "did not hear TCP by address, UDP by address",
    ),
    Fault(
        "largest-packet-whole",
        "ip route change 198.51.100.0/24 dev eth0 src 198.51.100.12 mtu 1400",
        "ip route change 198.51.100.0/24 dev eth0 src 198.51.100.12; ip route flush cache",
        ("node2 → node1",),
        "of 5 packets of 1450 bytes",
    ),
    Fault("many-bytes-unharmed", SPOILT_SUM, "rm /usr/local/sbin/sha256sum", BOTH_WAYS, "did not arrive as sent"),
    Fault(
        "isolated-from-other-networks",
        "iptables -I DOCKER-USER -j ACCEPT",
        "iptables -D DOCKER-USER -j ACCEPT",
        ("node2",),
        "reached across",
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.check for fault in FAULTS])
def test_a_fault_turns_its_check_red_there_and_leaves_nothing(cluster: Lab, proof: Proof, fault: Fault) -> None:
    run(cluster, "node2", fault.breaks)
    try:
        told = red(proof, f"overlay/{fault.check}")
    finally:
        run(cluster, "node2", fault.mends)
    print(told)
    assert set(fault.where) <= set(told)
    assert all(fault.said in told[where] for where in fault.where)
    assert {one.status for one in outcomes(proof, f"overlay/{fault.check}")} == {"passed"}
    for node in cluster.nodes:
        assert run(cluster, node.name, LABELLED) == ""


def test_datagrams_alone_that_are_lost_are_told_apart(cluster: Lab, proof: Proof) -> None:
    """In the probe's network namespace datagrams are dropped, and connections are not."""
    started = probe_pool(proof, proof.cluster.networks[0])
    first, second = started.probes()
    inside = f"nsenter --net=/proc/{second.process}/ns/net iptables -I INPUT -p udp --dport 7001 -j DROP"
    try:
        run(cluster, second.node.name, inside)
        heard = traffic._all_heard(proof, "demo", [first, second])
    finally:
        started.close()
    told = [one.evidence for one in heard if one.status == "failed"]
    assert told == [f"demo: {second.address} did not hear UDP by address"]


def test_a_container_on_both_networks_joins_them(proof: Proof) -> None:
    network = proof.cluster.networks[0]
    started = probe_pool(proof, network)
    with temporary(proof) as other:
        node = proof.cluster.nodes[0]
        other.make(node, "bridge")
        name = probes.new_name(proof, node)
        try:
            outsider = probes.start(proof, node, other.name, name)
            proof.coordinator.docker(node).api.connect_container_to_network(name, network.name)
            told = list(networks.kept_apart(started.probes(), [outsider], "demo and a bridge"))
            outsider.close()
        finally:
            probes.remove(proof, node, name)
            started.close()
    assert {(one.where, one.status) for one in told} == {("node1", "failed"), ("node2", "failed")}


def test_keepers_prove_once_each_host_has_had_word_of_the_others_and_not_where_it_does_not_come(
    cluster: Lab, proof: Proof
) -> None:
    network = proof.cluster.networks[0]
    names = [f"overlay-keeper-demo-{node.name}" for node in proof.cluster.nodes]
    assert new_keepers(proof, network) == []
    started = replace(proof, started=frozenset(names))
    keepers = new_keepers(started, network)
    assert [keeper.name for keeper in keepers] == names
    away = keepers[1].address
    entry = run(cluster, "node1", f"{PORTS}\nin_overlay ip neigh show to {away}").strip()
    run(cluster, "node1", f"{PORTS}\nin_overlay ip neigh del {away} dev vxlan0")
    try:
        assert new_keepers(started, network) == []
    finally:
        entry = entry.replace("PERMANENT", "nud permanent")
        run(cluster, "node1", f"{PORTS}\nin_overlay ip neigh replace {entry}")


def test_a_network_seen_too_late_is_told(proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "SEEN_SECONDS", 0)
    told = red(proof, "overlay/new-network-seen-everywhere")
    assert list(told) == ["node2"]
    assert "saw a network created on node1 after" in told["node2"]


def test_two_networks_of_one_name_are_told_and_both_removed(proof: Proof) -> None:
    """Docker may create two networks of one name if two nodes create it at once without a subnet."""
    with temporary(proof) as network:
        make = partial(proof.coordinator.docker(proof.cluster.nodes[0]).api.create_network, network.name, "overlay")
        identities = {make(check_duplicate=False)["Id"] for _ in range(2)}
        seen = networks.judged(network, [])
    assert len(identities) == 2
    assert seen.status == "failed"
    assert all(identity[:12] in seen.evidence for identity in identities)
    assert [network.seen(node) for node in proof.cluster.nodes] == [[], []]


def test_an_address_of_two_endpoints_is_told(proof: Proof) -> None:
    """The store has a second endpoint with the address of the first, as after the restore of an old backup."""
    store = opened(proof.coordinator).store()
    one = next(found for found in in_store(proof) if found.name.startswith("overlay-keeper"))
    folder = f"{ENDPOINTS}/{one.place}"
    record = json.loads((store.get(f"{folder}/{one.identity}") or {})["value"])
    twin = f"{'f' * 12}{one.identity[12:]}"
    store.put(f"{folder}/{twin}", json.dumps({**record, "id": twin, "name": "twin"}))
    try:
        told = red(proof, "overlay/no-address-twice")
    finally:
        store.delete(f"{folder}/{twin}")
    assert told == {"cluster": f"{one.address} is that of {one.name} ({one.identity[:12]}) and twin ({twin[:12]})"}
    assert not red(proof, "overlay/no-address-twice")
