"""Who bootstraps, who joins, and who can do neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_sample import (
    answering,
    bare_situation,
    changed,
    planned,
    planned_sample,
    sees,
    store_member,
    with_unit,
    without_path,
)
from pki_sample import node, sample

from provision import engine
from provision.core.situation import Situation
from provision.facts import Facts, PathFact
from provision.inventory.model import Node
from provision.planes.etcd import bootstrap as beginning
from provision.planes.etcd import membership, paths, pki
from provision.planes.etcd.local import with_identity
from provision.planes.etcd.plane import PLANE

NODE1, NODE2, NODE3 = (node(f"node{n}", f"192.0.2.{n}") for n in (1, 2, 3))
BOTH = "node1=https://192.0.2.1:2380,node2=https://192.0.2.2:2380"
ALL = f"{BOTH},node3=https://192.0.2.3:2380"


def started(text: str) -> Callable[[Facts], Facts]:
    """A bootstrap file that an earlier run wrote."""
    found = PathFact("file", 0o644, "root:root", "0" * 64, text=text)
    return lambda facts: replace(facts, paths={**facts.paths, paths.ETCD_BOOTSTRAP: found})


def listed(*members: dict[str, Any]) -> Callable[[Facts], Facts]:
    return answering(members=members)


def bare(folder: Path, *nodes: Node) -> Situation:
    return bare_situation(replace(sample(folder), nodes=nodes))


def grown(folder: Path) -> Situation:
    """Two members at work, and a bare third that is to become one."""
    old = planned(replace(sample(folder), nodes=(NODE1, NODE2)))
    cluster = replace(old.cluster, nodes=(NODE1, NODE2, NODE3))
    new = bare_situation(cluster)
    return replace(new, facts={**new.facts, **old.facts})


def silent(situation: Situation) -> Situation:
    """No member answers."""
    for name in situation.facts:
        situation = changed(situation, name, answering(members=None, status=None))
    return situation


def bootstrap(situation: Situation, node: Node) -> tuple[str, str]:
    """Initial members and state of a node's bootstrap file."""
    text = beginning.bootstrap_file(situation, node).decode()
    read = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("ETCD_"))
    assert read["ETCD_INITIAL_CLUSTER_TOKEN"]
    assert read["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == f"https://{node.address}:2380"
    return read["ETCD_INITIAL_CLUSTER"], read["ETCD_INITIAL_CLUSTER_STATE"]


def test_bare_members_bootstrap_together(tmp_path: Path) -> None:
    situation = bare(tmp_path, NODE1, NODE2, replace(NODE3, member=False))
    assert not membership.is_running(situation)
    assert [bootstrap(situation, member) for member in (NODE1, NODE2)] == [(BOTH, "new")] * 2
    assert (membership.joining(situation), beginning.stranded(situation)) == ((), ())


def test_an_interrupted_bootstrap_goes_on_with_the_members_it_began_with(tmp_path: Path) -> None:
    begun = bare(tmp_path, NODE1, NODE2)
    begun = changed(begun, "node1", started(beginning.bootstrap_file(begun, NODE1).decode()))
    assert bootstrap(begun, NODE2) == (BOTH, "new")
    assert (membership.joining(begun), beginning.stranded(begun)) == ((), ())


def test_a_member_named_since_the_interrupted_bootstrap_is_stranded_until_the_store_answers(tmp_path: Path) -> None:
    begun = bare(tmp_path, NODE1, NODE2)
    text = beginning.bootstrap_file(begun, NODE1).decode()
    now = changed(bare(tmp_path, NODE1, NODE2, NODE3), "node2", started(text))
    assert [bootstrap(now, member) for member in (NODE1, NODE2)] == [(BOTH, "new")] * 2
    (problem,) = beginning.stranded(now)
    assert problem.where == "node3"
    assert problem.what == "node3 is to join the store, but that has no quorum"
    assert problem.advice.endswith("systemctl status etcd.service on node1, node2")


@pytest.mark.parametrize("name", ["node1", "node2"])
def test_a_member_that_lost_its_bootstrap_file_finds_it_with_the_other(tmp_path: Path, name: str) -> None:
    situation = silent(planned(replace(sample(tmp_path), nodes=(NODE1, NODE2))))
    situation = changed(situation, name, without_path(paths.ETCD_BOOTSTRAP))
    assert bootstrap(situation, situation.cluster.node(name)) == (BOTH, "new")
    assert beginning.stranded(situation) == ()


def test_a_third_member_joins_the_store_that_runs(tmp_path: Path) -> None:
    situation = grown(tmp_path)
    assert membership.joining(situation) == (NODE3,)
    assert bootstrap(situation, NODE3) == (ALL, "existing")
    assert bootstrap(situation, NODE1) == (BOTH, "new")
    assert beginning.stranded(situation) == ()


def test_283_one_that_joins_is_announced_whomever_it_has_trusted_before(tmp_path: Path) -> None:
    strange = PathFact("regular file", 0o644, "root:root", text="another cluster's")
    situation = changed(
        grown(tmp_path), "node3", lambda facts: replace(facts, paths={**facts.paths, paths.CLIENT_AUTHORITY: strange})
    )
    assert membership.joining(situation) == (NODE3,)
    assert membership.stays_at_work(situation)


def test_who_joins_names_who_joined_before_it_and_nobody_after(tmp_path: Path) -> None:
    situation = grown(tmp_path)
    node4 = node("node4", "192.0.2.4")
    cluster = replace(situation.cluster, nodes=(node4, *situation.cluster.nodes))
    situation = with_identity(replace(situation, cluster=cluster), pki.make(cluster))
    assert membership.joining(situation) == (node4, NODE3)
    assert bootstrap(situation, node4) == (f"node4=https://192.0.2.4:2380,{BOTH}", "existing")
    assert bootstrap(situation, NODE3) == (f"node4=https://192.0.2.4:2380,{ALL}", "existing")


@pytest.mark.parametrize(
    ("last", "joins"),
    [
        (store_member(NODE3), False),
        (store_member(NODE3, isLearner=True), True),
        (store_member(NODE3, isLearner=True) | {"name": ""}, True),
        (store_member(NODE3) | {"name": ""}, True),
        (store_member(NODE3) | {"peerURLs": ["https://192.0.2.9:2380"]}, True),
        ({"ID": 3, "name": "node3"}, True),
    ],
    ids=["a voter", "a learner", "announced, not started", "never started", "at another address", "no address"],
)
def test_a_member_half_way_is_still_joining(tmp_path: Path, last: dict[str, Any], joins: bool) -> None:
    members = (store_member(NODE1), store_member(NODE2), last)
    situation = changed(grown(tmp_path), "node1", listed(*members))
    assert membership.joining(situation) == ((NODE3,) if joins else ())


def test_77_a_learner_half_way_keeps_the_members_it_was_given(tmp_path: Path) -> None:
    members = (store_member(NODE1), store_member(NODE2), store_member(NODE3, isLearner=True) | {"name": ""})
    situation = changed(grown(tmp_path), "node1", listed(*members))
    assert bootstrap(situation, NODE3) == (ALL, "existing")


def test_73_no_member_joins_a_store_that_does_not_answer(tmp_path: Path) -> None:
    (problem,) = beginning.stranded(silent(grown(tmp_path)))
    assert problem.what == "node3 is to join the store, but that has no quorum"


def test_a_joined_member_of_a_store_that_is_down_is_not_stranded(tmp_path: Path) -> None:
    situation = silent(grown(tmp_path))
    joined = "ETCD_INITIAL_CLUSTER_STATE=existing\n"
    assert beginning.stranded(changed(situation, "node3", started(joined))) == ()


def without_quorum(situation: Situation) -> Situation:
    """Members that answer for themselves, and know no leader."""
    for name in situation.facts:
        situation = changed(situation, name, answering(status={"raftIndex": 99}))
    return situation


def test_73_no_member_joins_one_that_has_no_quorum_though_its_members_answer(tmp_path: Path) -> None:
    (problem,) = beginning.stranded(without_quorum(grown(tmp_path)))
    assert problem.what == "node3 is to join the store, but that has no quorum"


def test_a_store_without_a_quorum_is_told_with_what_it_means_and_why(tmp_path: Path) -> None:
    planned = planned_sample(tmp_path)
    assert membership.warnings(planned) == membership.warnings(bare(tmp_path, NODE1, NODE2)) == ()
    (apart,) = membership.warnings(without_quorum(planned))
    assert apart.what.startswith("the store has no quorum: 2 of 2 members have to find each other; until then")
    assert "2380/tcp between them" in apart.advice
    down = changed(without_quorum(planned), "node2", with_unit(paths.ETCD_UNIT, state="failed", process=0))
    (problem,) = membership.warnings(down)
    assert problem.what.endswith("(etcd on node2: failed)")
    assert "provision starts etcd" in problem.advice


def test_networks_that_cannot_be_seen_are_neither_made_nor_kept_anew(tmp_path: Path) -> None:
    unseen = without_quorum(planned_sample(tmp_path))
    for name in unseen.facts:
        unseen = changed(unseen, name, sees())
    assert engine.make_plan(PLANE, unseen).changes == ()


def test_one_member_that_answers_is_enough(tmp_path: Path) -> None:
    situation = changed(grown(tmp_path), "node1", answering(members=None))
    assert membership.is_running(situation)
    assert membership.known(situation) == (store_member(NODE1), store_member(NODE2))
    assert membership.joining(situation) == (NODE3,)
