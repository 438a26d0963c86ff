"""Swarm mode's suite swarm: each check can fail, and names the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from conftest import Fab, MakeLab
from invariants import await_so, leader
from observe import document, run, seeded
from proofs import connected, red

from provision.checks.proof import Proof
from provision.lab import Lab
from provision.planes.swarm.plane import PLANE

pytestmark = pytest.mark.whole
READY, LEADER = "swarm/nodes-are-ready", "swarm/one-leader"
WRITE, GOSSIP = "swarm/write-is-read-elsewhere", "swarm/gossip-knows-every-node"
ROLE = "docker node inspect -f '{{.Spec.Role}} {{.Status.State}}'"
PEERS = "docker network inspect -f '{{range .Peers}}{{.IP}} {{end}}' demo | wc -w"
ALL_READY = "[ \"$(docker node ls --format '{{.Status}}' | sort | uniq -c | tr -s ' ')\" = ' 3 Ready' ]"


@pytest.fixture(scope="module")
def trio(make_lab: MakeLab, fab: Fab) -> Lab:
    lab = make_lab(3, release="trixie")
    document(fab(lab, "provision", "--json"))
    return lab


@pytest.fixture(scope="module")
def proof(trio: Lab) -> Iterator[Proof]:
    with connected(trio, PLANE) as made:
        yield made


def shut(lab: Lab, node: str, *ports: str) -> AbstractContextManager[None]:
    """Let no packet to or from these ports (`tcp 2377`) into a node or out of it."""
    rules = [
        f"{chain} -p {port.split()[0]} --{side} {port.split()[1]} -j DROP"
        for port in ports
        for chain in ("INPUT", "OUTPUT")
        for side in ("sport", "dport")
    ]
    insert, delete = ("\n".join(f"iptables {action} {rule}" for rule in rules) for action in ("-I", "-D"))
    return seeded(lab, node, insert, delete)


def test_a_node_in_another_role_is_named(trio: Lab, proof: Proof) -> None:
    run(trio, "node1", "docker node demote node3")
    try:
        await_so(trio, "node1", f"[ \"$({ROLE} node3)\" = 'worker ready' ]")
        assert red(proof, READY) == {"node3": "ready, a worker; the inventory says manager"}
    finally:
        run(trio, "node1", "docker node promote node3")
        await_so(trio, "node3", "docker node ls >/dev/null 2>&1")


def test_a_node_that_the_inventory_lacks_is_named(proof: Proof) -> None:
    two = replace(proof, cluster=replace(proof.cluster, nodes=proof.cluster.nodes[:2]))
    assert red(two, READY) == {"cluster": "node3 is in the swarm, and not in the inventory"}


def test_a_manager_that_reaches_no_other_has_no_leader_and_reads_nothing(trio: Lab, proof: Proof) -> None:
    leads = leader(trio)
    alone = next(node.name for node in trio.nodes[::-1] if node.name != leads)
    with shut(trio, alone, "tcp 2377"):
        await_so(trio, alone, "! timeout 5 docker node ls >/dev/null 2>&1")
        told = red(proof, LEADER)
        assert f"{alone}: nobody" in told["cluster"]
        assert f"{leads}: {leads}" in told["cluster"]
        assert alone in red(proof, WRITE)
    await_so(trio, alone, ALL_READY)
    assert red(proof, LEADER) == red(proof, WRITE) == {}


def test_a_daemon_whose_gossip_is_shut_out_is_named_on_every_node(trio: Lab, proof: Proof) -> None:
    with shut(trio, "node3", "tcp 7946", "udp 7946"):
        for name, left in (("node1", 2), ("node2", 2), ("node3", 1)):
            await_so(trio, name, f"[ $({PEERS}) = {left} ]")
        assert red(proof, GOSSIP) == {
            "node1": "demo: does not know node3",
            "node2": "demo: does not know node3",
            "node3": "demo: does not know node1, node2",
        }
    for node in trio.nodes:
        await_so(trio, node.name, f"[ $({PEERS}) = 3 ]")
    assert red(proof, GOSSIP) == {}
