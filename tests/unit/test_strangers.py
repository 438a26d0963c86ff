"""Hosts that are no nodes and have endpoints in the store: which endpoints are freed, and which nodes are asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as LocalPath

from cluster_sample import answering, changed, lines, planned, sees
from pki_sample import node, sample

from provision.core.plan import Plan
from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.planes.etcd.plane import PLANE

NODE1, NODE2 = (node(f"node{n}", f"192.0.2.{n}") for n in (1, 2))
HOST = "192.0.2.9"
WEB, DB = f"{'a' * 64} {'1' * 64} {HOST} web", f"{'b' * 64} {'2' * 64} {HOST} db"
FREE = f"cluster: free endpoints of {HOST}"


def told(situation: Situation, name: str, **answers: str) -> Situation:
    """A node answers that, too."""
    return changed(situation, name, lambda facts: replace(facts, answers={**facts.answers, **answers}))


def held(folder: LocalPath, node1: str = "", node2: str = "", rows: tuple[str, ...] = (WEB, DB)) -> Situation:
    """Two nodes at work, and endpoints of a host that is none of them; what each node says of that host."""
    situation = planned(replace(sample(folder), nodes=(NODE1, NODE2)))
    for name in ("node1", "node2"):
        situation = changed(situation, name, sees({**situation.networks["demo"], "Id": "a" * 64}))
    for name, state in (("node1", node1), ("node2", node2)):
        strangers = f"{state} {HOST}\n" if state else ""
        situation = told(situation, name, endpoints="".join(f"{row}\n" for row in rows), strangers=strangers)
    return situation


def plan(situation: Situation) -> Plan:
    return make_plan(PLANE, situation)


def test_endpoints_of_a_host_that_is_gone_are_freed_with_a_yes_that_names_them(tmp_path: LocalPath) -> None:
    (change,) = plan(held(tmp_path, "gone", "gone"))
    names = f"db on {'b' * 12}, web on demo"
    assert str(change) == f"{FREE}  ({names})"
    assert change.consent == f"free the endpoints of {HOST}, which is no node and does not answer ({names})"
    assert PLANE.warnings(held(tmp_path, "gone", "gone")) == ()


def test_of_keepers_of_ours_alone_nobody_is_asked(tmp_path: LocalPath) -> None:
    (change,) = plan(held(tmp_path, "gone", rows=(WEB.replace("web", "overlay-keeper-demo-node9"),)))
    assert (change.note, change.consent) == ("overlay-keeper-demo-node9 on demo", "")
    both = (WEB, WEB.replace("web", "overlay-keeper-demo-node9"))
    (change,) = plan(held(tmp_path, "gone", rows=both))
    assert change.consent.endswith("(web on demo)")


def test_one_node_that_sees_it_gone_is_enough_where_no_other_sees_it_alive(tmp_path: LocalPath) -> None:
    assert lines(plan(held(tmp_path, "", "gone"))) == [FREE]
    assert lines(plan(held(tmp_path, "alive", "gone"))) == []


def test_a_host_that_lives_or_may_live_keeps_its_endpoints_and_is_told_of(tmp_path: LocalPath) -> None:
    for state in ("alive", ""):
        situation = held(tmp_path, state, state)
        assert lines(plan(situation)) == []
        (warning,) = PLANE.warnings(situation)
        assert warning.what == f"{HOST} is no node, and has containers on the networks: db on {'b' * 12}, web on demo"
        assert "fab reset --only NAME" in warning.advice


def test_what_a_node_holds_under_an_address_that_it_had_before_is_freed(tmp_path: LocalPath) -> None:
    situation = told(held(tmp_path, "alive", "alive"), "node2", **{"store-in-use": f"192.0.2.1:2379 {HOST}:2376"})
    assert FREE in lines(plan(situation))
    assert PLANE.warnings(situation) == ()


def test_each_host_is_a_change_of_its_own(tmp_path: LocalPath) -> None:
    other = WEB.replace(HOST, "192.0.2.8")
    situation = told(held(tmp_path, rows=(WEB, other)), "node1", strangers=f"gone {HOST}\ngone 192.0.2.8\n")
    assert lines(plan(situation)) == ["cluster: free endpoints of 192.0.2.8", FREE]


def test_nothing_is_freed_while_the_host_is_a_member(tmp_path: LocalPath) -> None:
    situation = held(tmp_path, "gone", "gone")
    listed = [{"ID": 9, "name": "node9", "peerURLs": [f"https://{HOST}:2380"]}]
    there = tuple({"ID": n, "name": f"node{n}", "peerURLs": [f"https://192.0.2.{n}:2380"]} for n in (1, 2))
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(members=(*there, *listed)))
    first, second = PLANE.stages(situation, Goal.CONVERGE)
    assert lines(make_plan(PLANE, first.enter(situation))) == ["cluster: remove member node9"]
    assert second.foresee
    assert FREE in lines(make_plan(PLANE, second.enter(second.foresee(situation))))


def test_nothing_is_freed_in_the_stage_in_which_members_leave(tmp_path: LocalPath) -> None:
    situation = held(tmp_path, "gone", "gone")
    leaving = replace(situation, guests=("192.0.2.7",))
    assert lines(plan(leaving)) == []


def test_without_a_quorum_nothing_is_known_of_them(tmp_path: LocalPath) -> None:
    situation = held(tmp_path, "gone", "gone")
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(status={"raftIndex": 7}))
    assert FREE not in lines(plan(situation))
    assert not [script for script in PLANE.follow_up(situation).values() if "\nfact_strangers " in script]


def test_a_host_that_is_about_to_leave_is_no_stranger(tmp_path: LocalPath) -> None:
    situation = held(tmp_path, "gone", "gone")
    absent = replace(NODE2, name="node9", address=HOST)
    cluster = replace(situation.cluster, absent=(absent,))
    facts = {**situation.facts, "node9": replace(situation.facts["node2"], values={"record": "yes"}, answers={})}
    assert FREE not in lines(plan(replace(situation, cluster=cluster, facts=facts)))


def test_only_where_there_are_endpoints_of_strangers_more_is_asked(tmp_path: LocalPath) -> None:
    assert PLANE.follow_up(held(tmp_path, rows=())) == {}
    asked = PLANE.follow_up(held(tmp_path))
    assert set(asked) == {"node1", "node2"}
    assert all(script.endswith(f"\nfact_strangers {HOST}\n") for script in asked.values())
