"""The suite etcd: each check of the store's state fails during a fault made for it, and passes again after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Fab, MakeLab
from invariants import await_so
from observe import document, run
from proofs import connected, outcomes, red

from provision.checks.proof import Proof
from provision.lab import Lab
from provision.planes.etcd.coordinator import opened
from provision.waiting import wait_for

pytestmark = pytest.mark.lab

PROGRAM = "/usr/local/lib/overlay-provision/docker-store"
KEYS = "/docker/overlay-provision-test"


@pytest.fixture(scope="module")
def trio(make_lab: MakeLab, fab: Fab) -> Lab:
    """Three members, so that one can lag behind the other two."""
    lab = make_lab(3)
    document(fab(lab, "provision", "--json"))
    return lab


@pytest.fixture(scope="module")
def proof(trio: Lab) -> Iterator[Proof]:
    with connected(trio) as made:
        yield made


@pytest.mark.parametrize("kind", ["NOSPACE", "CORRUPT"])
def test_an_alarm_is_named_by_every_member(proof: Proof, kind: str) -> None:
    store = opened(proof.coordinator).store(proof.cluster.nodes[0])
    (member,) = [one["ID"] for one in store.members() if one["name"] == "node1"]
    alarm = {"memberID": member, "alarm": kind}
    store._call("/v3/maintenance/alarm", {"action": "ACTIVATE", **alarm})
    try:
        told = red(proof, "etcd/no-alarm")
    finally:
        store._call("/v3/maintenance/alarm", {"action": "DEACTIVATE", **alarm})
    assert told == dict.fromkeys(("node1", "node2", "node3"), f"raised: {kind} of node1")
    assert not red(proof, "etcd/no-alarm")


def test_a_member_that_hears_nothing_is_behind_and_has_another_tree(trio: Lab, proof: Proof) -> None:
    store = opened(proof.coordinator).store(proof.cluster.nodes[0])
    rules = [f"{chain} -p tcp --{end} 2380 -j DROP" for chain in ("INPUT", "OUTPUT") for end in ("dport", "sport")]
    run(trio, "node3", "\n".join(f"iptables -I {rule}" for rule in rules))
    try:
        proof.coordinator.await_quorum("a member was cut off")
        for number in range(110):
            store.put(f"{KEYS}/{number}", "written while one was away")
        behind, differing = red(proof, "etcd/no-member-behind"), red(proof, "etcd/one-tree-everywhere")
    finally:
        run(trio, "node3", "\n".join(f"iptables -D {rule}" for rule in rules))
    assert list(behind) == ["node3"]
    assert "behind the cluster (at most 100)" in behind["node3"]
    assert f"{KEYS}/0: not at node3; {KEYS}/1: not at node3" in differing["cluster"]
    # TCP sends lost data again after pauses that grow with the duration of the cut.
    assert wait_for(lambda: not red(proof, "etcd/no-member-behind"), 30)
    assert not red(proof, "etcd/one-tree-everywhere")
    proof.coordinator.await_quorum("the member is back")
    store.delete(KEYS)


def test_a_dockerd_without_tls_is_named(trio: Lab, proof: Proof) -> None:
    strip = "'/kv[.]c/d'"
    # The unit never becomes active, because no member answers it.
    run(trio, "node2", f"cp {PROGRAM} /run/kept; sed -i {strip} {PROGRAM}")
    run(
        trio,
        "node2",
        "systemctl restart --no-block docker; until journalctl -u docker | grep -q 'discovery without'; do :; done",
    )
    try:
        told = red(proof, "etcd/dockerd-uses-tls")
    finally:
        run(trio, "node2", f"cp /run/kept {PROGRAM}; systemctl kill -s KILL docker")
        run(trio, "node2", "systemctl restart docker")
    assert told == {"node2": "dockerd's journal says: Initializing discovery without TLS"}
    await_so(trio, "node2", "[ -e /run/overlay-provision/docker.joined ]")
    assert {one.status for one in outcomes(proof, "etcd/dockerd-uses-tls")} == {"passed"}
