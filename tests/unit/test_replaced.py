"""Members without their data: which are taken for that, and how they go and join anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as LocalPath

import pytest
from cluster_sample import (
    answering,
    bare,
    changed,
    store_member,
    with_data,
    with_unit,
    without_data,
)
from members_sample import FIVE, at_work, plans, shrunk
from preflight_sample import failures

from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.planes.etcd import bootstrap, paths
from provision.planes.etcd.membership import replaced
from provision.planes.etcd.plane import PLANE


def emptied(situation: Situation, *names: str) -> Situation:
    """These members have none of their data; their etcd is not there."""
    for name in names:
        situation = changed(situation, name, answering(members=None, status=None))
        situation = changed(situation, name, without_data)
    return situation


def replaced_by_new_machines(situation: Situation, *names: str) -> Situation:
    machines = {one.name: without_data(bare(one)) for one in situation.cluster.nodes if one.name in names}
    return replace(situation, facts={**situation.facts, **machines})


def test_a_member_on_a_new_machine_goes_first_and_then_joins_as_a_newcomer(tmp_path: LocalPath) -> None:
    situation = replaced_by_new_machines(at_work(tmp_path, *FIVE[:3]), "node3")
    (changes,) = plans(situation)
    assert [line for line in changes if "cluster" in line] == [
        "cluster: remove member node3",
        "cluster: add member node3",
    ]
    assert not [line for line in changes if line.startswith(("node1", "node2"))]
    assert failures(situation) == []
    text = bootstrap.bootstrap_file(situation, FIVE[2]).decode()
    assert "ETCD_INITIAL_CLUSTER_STATE=existing" in text


def test_the_removal_of_a_member_without_data_needs_a_yes_that_names_its_folder(tmp_path: LocalPath) -> None:
    (consent,) = make_plan(PLANE, emptied(at_work(tmp_path, *FIVE[:3]), "node3")).consents
    assert consent.startswith("remove the member node3 (https://192.0.2.3:2380) from the store and let it join anew")
    assert "none of its data in /var/lib/etcd (a new machine, or lost data; or is a disk not mounted there?)" in consent


def test_what_a_start_without_data_has_left_is_moved_aside(tmp_path: LocalPath) -> None:
    """etcd makes a database and ends: it knows that it is a member and has lost its log."""
    begun = changed(emptied(at_work(tmp_path, *FIVE[:3]), "node3"), "node3", with_data)
    for state in ("activating", "active"):
        situation = changed(begun, "node3", with_unit(paths.ETCD_UNIT, state=state))
        assert [line for line in plans(situation)[0] if "file" not in line] == [
            "cluster: remove member node3",
            "node3: remove data of a removed member",
            "node3: start unit etcd.service",
            "cluster: add member node3",
        ]


def test_all_without_data_go_before_one_of_them_joins_and_those_announced_are_first(tmp_path: LocalPath) -> None:
    situation = replaced_by_new_machines(at_work(tmp_path, *FIVE), "node1", "node4")
    (changes,) = plans(situation)
    assert [line for line in changes if "cluster" in line] == [
        f"cluster: {action} member {name}" for action in ("remove", "add") for name in ("node1", "node4")
    ]
    assert "node4" not in bootstrap.bootstrap_file(situation, FIVE[0]).decode()
    announced = (*map(store_member, FIVE[:4]), {"ID": 9, "peerURLs": ["https://192.0.2.5:2380"]})
    for name in ("node2", "node3"):
        situation = changed(situation, name, answering(members=announced))
    situation = replaced_by_new_machines(situation, "node5")
    assert next(line for line in plans(situation)[0] if "add" in line) == "cluster: add member node5"


def test_a_member_that_nobody_was_able_to_ask_is_not_taken_for_one_without_data(tmp_path: LocalPath) -> None:
    situation = at_work(tmp_path, *FIVE[:3])
    unreached = replace(situation, facts={name: situation.facts[name] for name in ("node1", "node2")})
    assert replaced(unreached) == ()
    assert [node.name for node in replaced(emptied(situation, "node3"))] == ["node3"]


def test_a_member_without_data_is_asked_again_for_it_may_have_started_after_it_was_asked(tmp_path: LocalPath) -> None:
    situation = at_work(tmp_path, *FIVE[:3])
    assert PLANE.follow_up(situation) == {}
    (name, script), *others = PLANE.follow_up(emptied(situation, "node3")).items()
    assert (name, script.splitlines()[-1], others) == ("node3", "fact_store_log", [])
    # It answered, because it had started between the two questions.
    started = changed(emptied(situation, "node3"), "node3", answering(status={"leader": 1}))
    assert any("\nfact_store_log\n" in script for script in PLANE.follow_up(started).values())


@pytest.mark.parametrize("goal", [Goal.RENEW, Goal.ROTATE])
def test_a_rotation_waits_until_a_member_without_data_has_joined(tmp_path: LocalPath, goal: Goal) -> None:
    with pytest.raises(PreflightRefused, match="members have none of their data: node3"):
        PLANE.stages(emptied(at_work(tmp_path, *FIVE[:3]), "node3"), goal)


def test_no_member_without_data_is_one_of_those_that_stay(tmp_path: LocalPath) -> None:
    situation = replaced_by_new_machines(shrunk(at_work(tmp_path, *FIVE[:4]), FIVE[3]), "node4")
    ruled = answering(members=tuple(map(store_member, FIVE[:4])), status={"leader": 1})
    others = {"node1": ruled(bare(FIVE[0]))}
    cluster = replace(situation.cluster, nodes=(replace(FIVE[0], member=False), FIVE[3]))
    situation = replace(situation, cluster=cluster, facts={**situation.facts, **others})
    with pytest.raises(PreflightRefused, match="none of the members that the store lists would stay"):
        make_plan(PLANE, situation)
