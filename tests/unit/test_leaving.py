"""Members that leave: what is planned, in which order, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as LocalPath

import pytest
from cluster_sample import (
    answering,
    bare,
    changed,
    lines,
    planned,
    store_member,
    with_path,
    with_unit,
)
from members_sample import FIVE, at_work, plans, shrunk
from pki_sample import node, sample
from preflight_sample import failures

from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import Facts, PathFact
from provision.gathering import question
from provision.planes.etcd import bootstrap, paths, pki
from provision.planes.etcd.local import local, with_identity
from provision.planes.etcd.membership import membership
from provision.planes.etcd.plane import PLANE


def test_members_that_answer_leave_last_and_one_after_another(tmp_path: LocalPath) -> None:
    first, second = plans(shrunk(at_work(tmp_path, *FIVE), *FIVE[:3]))
    assert first[-2:] == ["cluster: remove member node4", "cluster: remove member node5"]
    assert [line for line in first if "restart" in line] == []
    assert not [line for line in second if "member" in line]


def test_a_member_that_does_not_answer_goes_before_another_is_added(tmp_path: LocalPath) -> None:
    situation = shrunk(at_work(tmp_path, *FIVE[:3]), *FIVE[:2], alive=False)
    grown = replace(situation.cluster, nodes=(*FIVE[:2], FIVE[3]))
    situation = with_identity(
        replace(situation, cluster=grown, facts={**situation.facts, "node4": bare(FIVE[3])}), pki.make(grown)
    )
    changes = plans(situation)[0]
    assert changes.index("cluster: remove member node3") < changes.index("cluster: add member node4")
    text = bootstrap.bootstrap_file(situation, FIVE[3]).decode()
    assert "node3" not in text


def test_who_joins_finds_those_that_leave_after_it(tmp_path: LocalPath) -> None:
    situation = shrunk(at_work(tmp_path, *FIVE[:3]), *FIVE[:2])
    grown = replace(situation.cluster, nodes=(*FIVE[:2], replace(FIVE[3], name="node3")))
    facts = {**situation.facts, "node3": bare(FIVE[3])}
    situation = with_identity(replace(situation, cluster=grown, facts=facts), pki.make(grown))
    changes = plans(situation)[0]
    assert changes.index("cluster: add member node3") < changes.index("cluster: remove member node3")
    text = bootstrap.bootstrap_file(situation, grown.nodes[2]).decode()
    assert "node3=https://192.0.2.4:2380,leaving-1=https://192.0.2.3:2380\n" in text
    assert "ETCD_INITIAL_CLUSTER_STATE=existing" in text


def test_the_firewall_shuts_them_out_only_when_they_have_left(tmp_path: LocalPath) -> None:
    first, second = plans(shrunk(at_work(tmp_path, *FIVE[:3], firewall=True), *FIVE[:2]))
    assert not [line for line in first if "firewall" in line]
    assert "node1: update file /etc/overlay-provision/firewall.nft" in second


def test_a_plan_changes_members_in_the_order_that_the_arithmetic_has_judged(tmp_path: LocalPath) -> None:
    """One is lost, one joins, one leaves."""
    situation = shrunk(at_work(tmp_path, *FIVE[:4]), *FIVE[:2])
    first = situation.facts["node1"]
    first = replace(first, answers={**first.answers, "healthy": "https://192.0.2.4:2379"})
    grown = replace(situation.cluster, nodes=(*FIVE[:2], FIVE[4]))
    facts = {**situation.facts, "node1": first, "node5": bare(FIVE[4])}
    situation = with_identity(replace(situation, cluster=grown, facts=facts), pki.make(grown))
    steps = [f"cluster: {step.action} member {step.member}" for step in membership(situation).steps()]
    assert steps == ["cluster: remove member node3", "cluster: add member node5", "cluster: remove member node4"]
    assert [line for line in plans(situation)[0] if "cluster: " in line and " member " in line] == steps


def test_twenty_members_are_planned_as_fast_as_few(tmp_path: LocalPath) -> None:
    """Every list of some of them would be a million."""
    many = tuple(node(f"node{number}", f"192.0.2.{number}") for number in range(1, 21))
    assert lines(make_plan(PLANE, at_work(tmp_path, *many))) == []


def test_the_second_stage_makes_nothing_that_the_first_one_makes(tmp_path: LocalPath) -> None:
    situation = shrunk(at_work(tmp_path, *FIVE[:3], firewall=True), *FIVE[:2])
    grown = replace(situation.cluster, nodes=(*FIVE[:2], FIVE[3]))
    facts = {**situation.facts, "node4": bare(FIVE[3])}
    situation = with_identity(replace(situation, cluster=grown, facts=facts), pki.make(grown))
    first, second = plans(situation)
    assert "node4: create file /etc/etcd/bootstrap.env" in first
    assert not [line for line in second if "etcd" in line or "member" in line]
    assert "node4: create file /etc/overlay-provision/firewall.nft" in first
    assert "node4: update file /etc/overlay-provision/firewall.nft" in second
    assert "node4: load table overlay_provision" in second
    assert "node4: restart unit docker.service" in second


def test_removing_a_member_needs_a_yes_and_names_it(tmp_path: LocalPath) -> None:
    situation = shrunk(at_work(tmp_path, *FIVE[:3]), *FIVE[:2])
    plan = make_plan(PLANE, situation)
    assert plan.consents == ("remove the member node3 (https://192.0.2.3:2380) from the store",)
    (warning,) = PLANE.warnings(situation)
    assert warning.what.startswith("node3 (192.0.2.3): leaves the store")
    assert "certs --rotate --authority" in warning.advice


def test_a_node_that_is_a_member_no_more_keeps_its_dockerd_and_puts_its_store_away(tmp_path: LocalPath) -> None:
    situation = at_work(tmp_path, *FIVE[:3], firewall=True)
    nodes = (*FIVE[:2], replace(FIVE[2], member=False))
    situation = shrunk(situation, *FIVE[:3])
    cluster = replace(situation.cluster, nodes=nodes)
    answers = {**situation.facts["node1"].answers, "healthy": "https://192.0.2.3:2379"}
    facts = {**situation.facts, "node1": replace(situation.facts["node1"], answers=answers)}
    situation = with_identity(replace(situation, cluster=cluster, facts=facts), pki.make(cluster))
    first, second = plans(situation)
    assert "cluster: remove member node3" in first
    assert "node3: remove member of the store" not in first
    assert "node3: remove member of the store" in second
    assert [line for line in first + second if "firewall" in line] == []
    assert [line for line in first + second if "restart unit docker" in line] == []


def in_use(members: str, address: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, answers={**facts.answers, "store-in-use": f"{members} {address}:2376"})


def test_a_dockerd_that_knows_none_of_todays_members_is_restarted(tmp_path: LocalPath) -> None:
    situation = at_work(tmp_path, *FIVE[:2])
    stale = with_unit("docker.service", inputs={**situation.facts["node1"].unit("docker.service").inputs,
                                                paths.DOCKER_STORE: "0" * 64})  # fmt: skip
    situation = changed(situation, "node1", stale)
    known = changed(situation, "node1", in_use("192.0.2.9:2379,192.0.2.2:2379", "192.0.2.1"))
    assert lines(make_plan(PLANE, known)) == []
    for members, address in (("192.0.2.9:2379", "192.0.2.1"), ("192.0.2.2:2379", "192.0.2.8")):
        unknown = changed(situation, "node1", in_use(members, address))
        assert lines(make_plan(PLANE, unknown)) == ["node1: restart unit docker.service"]


def test_where_no_order_keeps_a_majority_the_run_is_refused(tmp_path: LocalPath) -> None:
    situation = shrunk(at_work(tmp_path, *FIVE[:3]), *FIVE[:1], alive=False)
    assert [step for step in plans(situation)[0] if "remove member" in step] == [
        "cluster: remove member node2",
        "cluster: remove member node3",
    ]
    url = "https://192.0.2.2:2379"
    answers = {**situation.facts["node1"].answers, "healthy": url}
    two_alive = changed(situation, "node1", lambda facts: replace(facts, answers=answers))
    assert make_plan(PLANE, two_alive)
    grown = replace(situation.cluster, nodes=(FIVE[0], FIVE[2]))
    with_dead = replace(two_alive, cluster=grown, facts={**two_alive.facts, "node3": bare(FIVE[2])})
    assert make_plan(PLANE, with_identity(with_dead, pki.make(grown)))


def removed(folder: LocalPath) -> Situation:
    """Three members, of which the last was removed while it was off; it has its old data and papers."""
    situation = at_work(folder, *FIVE[:3])
    there = tuple(map(store_member, FIVE[:2]))
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(members=there))
    situation = changed(situation, "node3", answering(members=None, status=None))
    situation = changed(situation, "node3", with_unit(paths.ETCD_UNIT, state="inactive", process=0))
    return changed(situation, "node3", with_path(paths.ETCD_BOOTSTRAP, text="ETCD_INITIAL_CLUSTER_STATE=new\n"))


def test_the_data_of_a_removed_member_is_recognised_and_moved_aside_with_a_yes(tmp_path: LocalPath) -> None:
    plan = make_plan(PLANE, removed(tmp_path))
    assert lines(plan) == [
        "node3: remove data of a removed member",
        "node3: update file /etc/etcd/bootstrap.env",
        "node3: start unit etcd.service",
        "cluster: add member node3",
    ]
    assert plan.consents == ("move the data of a member that was removed aside on node3",)


def test_the_etcd_of_a_removed_member_is_started_anew_though_it_runs_where_its_peers_are_out_of_reach(
    tmp_path: LocalPath,
) -> None:
    situation = changed(removed(tmp_path), "node3", with_unit(paths.ETCD_UNIT, state="active", process=7))
    assert "node3: start unit etcd.service" in lines(make_plan(PLANE, situation))


def test_a_run_killed_between_the_announcement_and_the_move_of_old_data_is_ended_by_the_next(
    tmp_path: LocalPath,
) -> None:
    announced = (*map(store_member, FIVE[:2]), {"ID": 9, "peerURLs": ["https://192.0.2.3:2380"]})
    situation = removed(tmp_path)
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(members=announced))
    assert lines(make_plan(PLANE, situation))[:2] == [
        "node3: remove data of a removed member",
        "node3: update file /etc/etcd/bootstrap.env",
    ]


def test_members_that_all_change_at_once_are_refused(tmp_path: LocalPath) -> None:
    situation = shrunk(at_work(tmp_path, *FIVE[:3]), *FIVE[:1])
    others = (replace(FIVE[0], member=False), FIVE[3])
    cluster = replace(situation.cluster, nodes=others)
    facts = {**situation.facts, "node4": bare(FIVE[3])}
    situation = with_identity(replace(situation, cluster=cluster, facts=facts), pki.make(cluster))
    with pytest.raises(PreflightRefused, match="none of the members that the store lists would stay"):
        make_plan(PLANE, situation)


def test_a_node_that_is_no_member_is_asked_whether_it_was_one(tmp_path: LocalPath) -> None:
    cluster = replace(sample(tmp_path), nodes=(FIVE[0], replace(FIVE[1], member=False)))
    asked = question(PLANE, Situation(cluster, PLANE.local(cluster)[0]), cluster.nodes[1])
    assert paths.ETCD_UNIT in asked.units
    assert {paths.ETCD_BOOTSTRAP, *paths.ETCD_KEYS} <= set(asked.paths)


def test_without_a_leader_nobody_is_shut_out(tmp_path: LocalPath) -> None:
    situation = shrunk(at_work(tmp_path, *FIVE[:3], firewall=True), *FIVE[:2])
    for name in situation.facts:
        situation = changed(situation, name, answering(status={"raftIndex": 7}))
    assert not [line for line in plans(situation)[0] if "firewall" in line]


def test_a_rotation_waits_until_members_have_left(tmp_path: LocalPath) -> None:
    with pytest.raises(PreflightRefused, match="about to leave"):
        PLANE.stages(shrunk(at_work(tmp_path, *FIVE[:3]), *FIVE[:2]), Goal.ROTATE)


def test_a_store_without_a_founder_is_not_taken_for_none(tmp_path: LocalPath) -> None:
    """All that is left of it joined later, and does not run now."""
    cluster = replace(sample(tmp_path), nodes=FIVE[:3])
    situation = Situation(cluster, local(planned(cluster)), {one.name: bare(one) for one in FIVE[:3]})
    file = PathFact("file", 0o644, "root:root", "0" * 64, text="ETCD_INITIAL_CLUSTER_STATE=existing\n")
    situation = changed(
        situation, "node1", lambda facts: replace(facts, paths={**facts.paths, paths.ETCD_BOOTSTRAP: file})
    )
    assert [problem.where for problem in PLANE.blockers(situation)] == ["node2", "node3"]


def test_a_store_that_is_bootstrapped_anew_gets_a_new_token(tmp_path: LocalPath) -> None:
    cluster = replace(sample(tmp_path), nodes=FIVE[:2])
    situation = Situation(
        cluster, replace(local(planned(cluster)), token="one"), {one.name: bare(one) for one in FIVE[:2]}
    )
    assert "ETCD_INITIAL_CLUSTER_TOKEN=one\n" in bootstrap.bootstrap_file(situation, FIVE[0]).decode()
    again, _ = PLANE.local(cluster)
    assert again.token != PLANE.local(cluster)[0].token


def test_who_was_not_reached_by_a_bootstrap_that_was_cut_short_gets_the_same_token(tmp_path: LocalPath) -> None:
    cluster = replace(sample(tmp_path), nodes=FIVE[:2])
    situation = Situation(
        cluster, replace(local(planned(cluster)), token="two"), {one.name: bare(one) for one in FIVE[:2]}
    )
    text = "ETCD_INITIAL_CLUSTER=node1=https://192.0.2.1:2380,node2=https://192.0.2.2:2380\n"
    text += "ETCD_INITIAL_CLUSTER_STATE=new\nETCD_INITIAL_CLUSTER_TOKEN=one\n"
    begun = PathFact("file", 0o644, "root:root", "0" * 64, text=text)
    situation = changed(
        situation, "node1", lambda facts: replace(facts, paths={**facts.paths, paths.ETCD_BOOTSTRAP: begun})
    )
    assert "ETCD_INITIAL_CLUSTER_TOKEN=one\n" in bootstrap.bootstrap_file(situation, FIVE[1]).decode()


@pytest.mark.parametrize(("versions", "refused"), [(("3.5.30", "3.5.9"), True), (("3.5.30", "3.4.23"), False)])
def test_an_etcd_older_than_the_store_is_refused(tmp_path: LocalPath, versions: tuple[str, str], refused: bool) -> None:
    situation = at_work(tmp_path, *FIVE[:2])
    kept = local(situation)
    situation = replace(situation, local=replace(kept, release=replace(kept.release, version="3.4.23")))
    for name, version in zip(("node1", "node2"), versions, strict=True):
        situation = changed(situation, name, answering(status={"leader": 1, "version": version}))
    assert [outcome.check for outcome in failures(situation)] == ["etcd-goes-forward"] * refused
