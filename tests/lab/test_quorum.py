"""One of two members is gone: every verb says what that means, none hangs, and none makes it worse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Fab
from invariants import OWN_MEMBER, assert_settled, await_packets, await_so
from observe import document, everything, run

from provision.lab import Lab

NO_QUORUM = "the store has no quorum: 2 of 2 members have to find each other"

LEADERLESS = f"! {{ {OWN_MEMBER} endpoint status -w json | grep '\"leader\":'; }}"


@pytest.fixture
def apart(cluster: Lab) -> Iterator[Lab]:
    """A lab whose members run and cannot reach each other."""
    rule = "INPUT -i eth0 -p tcp -m multiport --ports 2380 -j DROP"
    for node in cluster.nodes:
        run(cluster, node.name, f"iptables -I {rule}")
    for node in cluster.nodes:
        await_so(cluster, node.name, LEADERLESS)
    yield cluster
    for node in cluster.nodes:
        run(cluster, node.name, f"iptables -D {rule}")
    await_packets(cluster)


def test_a_store_whose_other_member_was_stopped_is_started_again(cluster: Lab, fab: Fab) -> None:
    run(cluster, "node2", "systemctl stop etcd")
    await_so(cluster, "node1", LEADERLESS)
    planned = document(fab(cluster, "plan", "--json"))
    assert [(change["where"], change["action"], change["resource"]) for change in planned["changes"]] == [
        ("node2", "start", "unit etcd.service")
    ]
    (told,) = [warning for warning in planned["warnings"] if NO_QUORUM in warning["what"]]
    assert told["what"].endswith("(etcd on node2: inactive)")
    assert document(fab(cluster, "provision", "--json"))["changes"] == planned["changes"]
    assert_settled(cluster, fab)


@pytest.mark.parametrize(
    ("verb", "code"),
    [("preflight", 0), ("plan", 0), ("provision", 4), ("verify", 5), ("status", 5), ("reset --yes", 3)],
)
def test_every_verb_says_that_the_quorum_is_lost_and_nothing_is_touched(
    apart: Lab, fab: Fab, verb: str, code: int
) -> None:
    before = everything(apart)
    result = fab(apart, *verb.split())
    assert result.returncode == code, result.stdout + result.stderr
    assert "no quorum" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert everything(apart) == before


def test_no_dockerd_is_restarted_without_a_quorum(apart: Lab, fab: Fab) -> None:
    run(apart, "node1", "echo '# by hand' >>/etc/systemd/system/docker.service.d/50-overlay.conf")
    before = {name: starts for name, (_, starts) in everything(apart).items()}
    problems = document(fab(apart, "provision", "--json"), 4)["problems"]
    assert any(NO_QUORUM in problem["what"] for problem in problems)
    assert {name: starts for name, (_, starts) in everything(apart).items()} == before
