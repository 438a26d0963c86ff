"""Preflight as a whole: what is no obstacle, all obstacles at once, and what is ignored by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_sample import (
    answering,
    bare_situation,
    changed,
    planned_sample,
    store_member,
    with_data,
    with_unit,
    without_data,
    without_path,
)
from pki_sample import sample
from preflight_sample import Change, failures, obstacle, values

from provision.checks import catalogue, node_view
from provision.core import outcome as outcomes_of
from provision.core.check import named
from provision.core.situation import Situation
from provision.errors import UsageError
from provision.planes.etcd import paths
from provision.planes.etcd.plane import PLANE

CHECKS = catalogue.of_preflight(PLANE)


@pytest.mark.parametrize("situation", [lambda f: bare_situation(sample(f)), planned_sample], ids=["bare", "planned"])
def test_nothing_is_in_the_way_of_good_hosts(tmp_path: Path, situation: Callable[[Path], Situation]) -> None:
    outcomes = node_view.run(PLANE, situation(tmp_path), CHECKS)
    assert [outcome for outcome in outcomes if outcome.status != "passed"] == []
    assert {(outcome.check, outcome.where) for outcome in outcomes} == {
        (check.name, name) for check in CHECKS for name in ("node1", "node2", "node3")
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: replace(facts, mtus={}),
        values(daemon_json=""),
        values(daemon_json='{"live-restore": true, "log-driver": "journald"}'),
        values(routes="default via 192.0.2.254 dev eth0;10.98.0.0/16 dev eth1;10.100.0.0/24 dev eth1;;"),
        values(routes="10.99.0.0/24 dev ov-001001-abcde;0.0.0.0/1 via 192.0.2.9 dev tun0;"),
        values(machine_id=""),
        values(hostname=""),
        values(dockerd="Docker version 20.10.5, build 55c4c88"),
        lambda facts: replace(facts, clock=None),
        lambda facts: replace(facts, spaces={}),
    ],
    ids=[
        *("no ip", "empty", "other keys", "other routes", "Docker's own or a VPN's", "no id", "no name"),
        *("another patch", "no date", "no findmnt"),
    ],
)
def test_what_is_no_obstacle_is_not_taken_for_one(tmp_path: Path, change: Change) -> None:
    assert failures(changed(bare_situation(sample(tmp_path)), "node2", change)) == []


def test_a_node_without_the_store_may_hold_another_etcds_data(tmp_path: Path) -> None:
    assert failures(changed(bare_situation(sample(tmp_path)), "node3", with_data)) == []


def test_scripts_have_to_run_as_root(tmp_path: Path) -> None:
    outcome = obstacle(tmp_path, values(root="1000"), "root")
    assert "do not run as root" in outcome.evidence
    assert "sudo" in outcome.advice


def test_an_address_of_another_host_is_told(tmp_path: Path) -> None:
    outcome = obstacle(tmp_path, lambda facts: replace(facts, mtus={"127.0.0.1": 65536, "192.0.2.9": 1500}), "address")
    assert outcome.evidence == "192.0.2.2 is no address of this host; it has 127.0.0.1, 192.0.2.9"
    assert "ssh: {host: …}" in outcome.advice


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_data, ["replaced-member"]),
        (without_path(paths.ETCD_BOOTSTRAP), ["foreign-store"]),
    ],
)
def test_a_member_that_lost_its_data_or_its_papers_is_told(tmp_path: Path, change: Change, expected: list[str]) -> None:
    outcomes = failures(changed(planned_sample(tmp_path), "node2", change))
    assert [(outcome.check, outcome.where) for outcome in outcomes] == [(check, "node2") for check in expected]


def test_a_member_that_has_not_begun_is_not_taken_for_one_that_lost_its_data(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    there = tuple(store_member(node, clientURLs=[]) for node in situation.cluster.members)
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(members=there, status={"leader": 1}))
    assert failures(changed(situation, "node2", without_data)) == []


def test_a_member_without_data_whose_etcd_runs_is_to_be_stopped_first(tmp_path: Path) -> None:
    (outcome,) = failures(changed(planned_sample(tmp_path), "node2", without_data))
    assert outcome.evidence.endswith("none of its data is in /var/lib/etcd, though its etcd runs")
    assert outcome.advice == "systemctl stop etcd.service on it; then provision lets it join anew"


def test_a_member_without_data_is_refused_where_the_others_have_no_quorum(tmp_path: Path) -> None:
    situation = changed(planned_sample(tmp_path), "node1", answering(status={"raftIndex": 99}))
    situation = changed(situation, "node2", answering(members=None, status=None))
    (outcome,) = failures(changed(situation, "node2", without_data))
    assert outcome.evidence.endswith("the others have no quorum: 2 of 2 members have to agree")
    assert outcome.advice.endswith("if hosts are lost for good: fab recover --plan")


@pytest.mark.parametrize(("state", "refused"), [("failed", ["silent-store"]), ("active", [])])
def test_a_member_without_data_does_not_begin_while_no_etcd_says_whether_it_lost_them(
    tmp_path: Path, state: str, refused: list[str]
) -> None:
    situation = changed(planned_sample(tmp_path), "node2", without_data)
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(members=None, status=None))
        situation = changed(situation, name, with_unit(paths.ETCD_UNIT, state=state))
    found = failures(situation)
    assert [(outcome.check, outcome.where) for outcome in found] == [(check, "node2") for check in refused]
    assert all("systemctl start etcd.service on node1;" in outcome.advice for outcome in found)


def two_of_node1_one_of_node2(folder: Path) -> Situation:
    situation = changed(bare_situation(sample(folder)), "node1", values(root="1000", vxlan=""))
    return changed(situation, "node2", values(init="init"))


def test_every_obstacle_of_every_node_is_told_at_once(tmp_path: Path) -> None:
    found = [(outcome.where, outcome.check) for outcome in failures(two_of_node1_one_of_node2(tmp_path))]
    assert found == [("node1", "root"), ("node1", "vxlan"), ("node2", "systemd")]


def test_an_obstacle_is_a_problem_with_its_node_and_its_check(tmp_path: Path) -> None:
    (outcome,) = failures(changed(bare_situation(sample(tmp_path)), "node1", values(root="1000")))
    assert outcome.problem.where == "node1 [root]"
    assert (outcome.problem.what, outcome.problem.advice) == (outcome.evidence, outcome.advice)


def test_what_is_ignored_warns_and_the_rest_still_fails(tmp_path: Path) -> None:
    situation = two_of_node1_one_of_node2(tmp_path)
    outcomes = node_view.run(PLANE, situation, CHECKS, {"root", "systemd"})
    warned = [outcome for outcome in outcomes if outcome.status == "warning"]
    assert [(one.where, one.check) for one in warned] == [("node1", "root"), ("node2", "systemd")]
    assert all(f"(ignored: --ignore {one.check})" in one.evidence and one.advice for one in warned)
    assert [(one.where, one.check) for one in outcomes_of.failures(outcomes)] == [("node1", "vxlan")]


def test_a_check_that_holds_is_passed_though_it_is_ignored(tmp_path: Path) -> None:
    outcomes = node_view.run(PLANE, bare_situation(sample(tmp_path)), CHECKS, {"disk"})
    assert {outcome.status for outcome in outcomes} == {"passed"}


def test_names_that_no_check_has_are_all_told_with_those_there_are() -> None:
    with pytest.raises(UsageError) as refused:
        named(CHECKS, ["prots", "disk", "anything"], "--ignore")
    first, second = refused.value.problems
    assert "--ignore prots" in first.what
    assert first.advice.startswith("did you mean ports? there are: ")
    assert second.advice.startswith("there are: ")
    assert all(check.name in second.advice for check in CHECKS)


def test_every_check_gives_its_reason() -> None:
    assert [check.name for check in CHECKS if not check.about] == []
