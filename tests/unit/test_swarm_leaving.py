"""Nodes that leave a swarm: in which order, with whose consent, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pki_sample import node
from swarm_sample import NODES, at_work, certificate, facts, listed, listing, own, without

from provision.core.plan import Plan
from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import Unit
from provision.planes.swarm import leaving, view
from provision.planes.swarm.plane import PLANE
from provision.planes.swarm.validity import NODE

GONE = node("node9", "192.0.2.9")
PHASES = ("lost", "swarm", "withdraw", "leave", "put-back")


def staged(situation: Situation) -> tuple[Plan, ...]:
    """The plan of each stage, as it is foreseen."""
    plans, now = [], situation
    for stage in PLANE.stages(situation, Goal.CONVERGE):
        plans.append(make_plan(PLANE, stage.enter(now)))
        now = stage.foresee(now)
    return tuple(plans)


def steps(plan: Plan) -> list[tuple[str, str, str]]:
    return [(one.phase, one.action, one.resource) for one in plan.changes if one.phase in PHASES]


def with_stranger(folder: Path, *, ready: bool = True, role: str = "manager") -> Situation:
    """The three of the inventory, and one that it does not have."""
    situation = at_work(folder)
    stranger = listed(GONE, ready=ready, role=role)
    if not ready and role == "manager":
        stranger["ManagerStatus"]["Reachability"] = "unreachable"
    return listing(situation, [*map(dict, situation.facts["node1"].docker[view.NODES]), stranger])


def absent(folder: Path, *, state: str = "active") -> Situation:
    """The third node is a manager, and leaves."""
    third = replace(NODES[2], member=True)
    situation = at_work(folder, node3=listed(third, ready=state == "active"))
    there = facts({view.INFO: own(third, state, manager=state == "active")})
    there = replace(there, values={**there.values, "record": "yes"})
    cluster = replace(situation.cluster, nodes=NODES[:2], absent=(third,))
    return replace(situation, cluster=cluster, facts={**situation.facts, "node3": there})


def test_an_absent_manager_becomes_a_worker_leaves_is_struck_off_and_its_host_put_back(tmp_path: Path) -> None:
    first, second = staged(absent(tmp_path))
    assert steps(first) == [
        ("swarm", "update", "role of node3"),
        ("withdraw", "remove", "node3 from the networks"),
        ("leave", "remove", "node3 id-node3 in the swarm"),
        ("put-back", "remove", "everything of ours on node3"),
    ]
    assert [consent.partition(",")[0] for consent in first.consents] == [
        "take node3 out of the cluster and restart its Docker"
    ]
    assert steps(second) == []


def test_one_that_was_killed_after_the_host_left_goes_on_without_asking(tmp_path: Path) -> None:
    first, _ = staged(absent(tmp_path, state="inactive"))
    assert steps(first) == [
        ("lost", "remove", "node3 id-node3 in the swarm"),
        ("put-back", "remove", "everything of ours on node3"),
    ]
    assert first.consents == ()


@pytest.mark.parametrize(
    ("ready", "role", "phase", "said"),
    [
        (True, "manager", "leave", "manager, which answers"),
        (False, "manager", "lost", "manager, which does not answer"),
        (True, "worker", "leave", "worker, which answers"),
        (False, "worker", "lost", "worker, which does not answer"),
    ],
)
def test_one_that_the_inventory_does_not_have_is_removed_and_never_unasked(
    tmp_path: Path, ready: bool, role: str, phase: str, said: str
) -> None:
    situation = with_stranger(tmp_path, ready=ready, role=role)
    first, _ = staged(situation)
    assert steps(first) == [(phase, "remove", "node9 id-node9 in the swarm")]
    assert [one.note.partition(";")[0] for one in first.changes if one.phase == phase] == [said]
    assert first.consents == (f"remove node9 (192.0.2.9), a {role}, from the swarm for good",)
    assert "what we put on that host stays there" in PLANE.warnings(situation)[0].what


def test_a_nodes_former_life_is_removed_without_asking(tmp_path: Path) -> None:
    former = listed(replace(NODES[1], name="node2-of-old"), ready=False, role="worker")
    situation = at_work(tmp_path)
    situation = listing(situation, [*map(dict, situation.facts["node1"].docker[view.NODES]), former])
    first, _ = staged(situation)
    assert steps(first) == [("lost", "remove", "node2-of-old id-node2-of- in the swarm")]
    assert first.consents == ()


def test_a_node_that_does_not_say_which_one_it_is_is_not_removed(tmp_path: Path) -> None:
    situation = at_work(tmp_path)
    silent = replace(facts({}), docker_answers=False)
    assert leaving.entries(replace(situation, facts={**situation.facts, "node2": silent})) == ()


def test_the_firewall_lets_those_in_that_leave_until_they_have_left(tmp_path: Path) -> None:
    situation = with_stranger(tmp_path)
    first, second = PLANE.stages(situation, Goal.CONVERGE)
    assert leaving.let_in(first.enter(situation)) == ("192.0.2.9",)
    assert leaving.let_in(second.enter(first.foresee(situation))) == ()


def test_the_leaver_whose_going_would_cost_the_majority_stays(tmp_path: Path) -> None:
    situation = with_stranger(tmp_path)
    entries = [dict(one) for one in situation.facts["node1"].docker[view.NODES]]
    entries[1] = {**entries[1], "ManagerStatus": {"Reachability": "unreachable", "Addr": "192.0.2.2:2377"}}
    with pytest.raises(PreflightRefused, match="without node9 only 1 of 2 members would be alive"):
        make_plan(PLANE, listing(situation, entries))


def test_a_node_at_another_address_is_refused_with_the_way_out(tmp_path: Path) -> None:
    situation = at_work(tmp_path, node3=listed(replace(NODES[2], address="192.0.2.33")))
    with pytest.raises(PreflightRefused, match=r"at 192\.0\.2\.33, and in the inventory at 192\.0\.2\.3"):
        make_plan(PLANE, situation)


def test_a_host_whose_docker_does_not_answer_cannot_leave(tmp_path: Path) -> None:
    situation = absent(tmp_path)
    silent = replace(situation.facts["node3"], docker_answers=False, docker={})
    with pytest.raises(PreflightRefused, match="Docker does not answer, so this host cannot leave"):
        make_plan(PLANE, replace(situation, facts={**situation.facts, "node3": silent}))


def test_a_manager_that_was_removed_while_it_was_off_leaves_and_is_not_demoted(tmp_path: Path) -> None:
    situation = absent(tmp_path)
    first, _ = staged(without(situation, "node3"))
    assert [step[0] for step in steps(first)] == ["withdraw", "put-back"]


def newcomer(situation: Situation) -> Situation:
    """The situation in which node3 is not in the swarm yet."""
    new = facts({view.INFO: own(NODES[2], "inactive")})
    return without(replace(situation, facts={**situation.facts, "node3": new}), "node3")


def led_by(situation: Situation, name: str) -> Situation:
    """The situation in which this manager leads."""
    entries = [
        {**one, "ManagerStatus": {**one["ManagerStatus"], "Leader": one["ID"] == f"id-{name}"}}
        if "ManagerStatus" in one
        else one
        for one in situation.facts["node1"].docker[view.NODES]
    ]
    return listing(situation, entries)


@pytest.mark.parametrize(("leads", "first"), [("node1", "add"), ("node9", "update")])
def test_a_leader_that_leaves_is_led_by_another_before_a_newcomer_joins(tmp_path: Path, leads: str, first: str) -> None:
    """A host that leaves may let no newcomer in, and newcomers report to the leader."""
    plan, _ = staged(led_by(newcomer(with_stranger(tmp_path)), leads))
    changes = [step for step in steps(plan) if step[0] == "swarm"]
    assert changes[0][1] == first
    assert ("swarm", "add", "node3 in the swarm") in changes
    assert (("swarm", "update", "role of node9 id-node9") in changes) == (leads == "node9")


def test_without_a_newcomer_a_leader_leaves_in_its_turn(tmp_path: Path) -> None:
    plan, _ = staged(led_by(with_stranger(tmp_path), "node9"))
    assert [step[0] for step in steps(plan)] == ["leave"]


def test_a_node_that_has_lost_what_it_knew_joins_anew_and_never_unasked(tmp_path: Path) -> None:
    situation = at_work(tmp_path, node2=listed(NODES[1], ready=False))
    empty = facts({view.INFO: own(NODES[1], "inactive")})
    situation = replace(situation, facts={**situation.facts, "node2": empty})
    entries = [dict(one) for one in situation.facts["node1"].docker[view.NODES]]
    entries[2] = listed(replace(NODES[2], member=True), role="manager")  # else no majority would be left
    plan, _ = staged(listing(situation, entries))
    assert ("lost", "remove", "node2 id-node2 in the swarm") in steps(plan)
    assert [consent.endswith("or is a disk not mounted there?)") for consent in plan.consents] == [True]


def test_a_host_whose_docker_left_by_hand_is_struck_off_and_its_docker_put_back(tmp_path: Path) -> None:
    situation = absent(tmp_path, state="inactive")
    ours = Unit("active", inputs={"/etc/docker/overlay/hardening": "0"})
    left = replace(situation.facts["node3"], units={"docker.service": ours})
    plan, _ = staged(replace(situation, facts={**situation.facts, "node3": left}))
    assert [step[0] for step in steps(plan)] == ["lost", "withdraw", "put-back"]


def test_a_host_that_leaves_is_not_lost_while_the_managers_elect_a_leader(tmp_path: Path) -> None:
    situation = absent(tmp_path)
    unknown = {"Status": {"State": "unknown", "Addr": "192.0.2.3"}}
    entries = [{**one, **unknown} for one in situation.facts["node1"].docker[view.NODES]]
    assert leaving.lost(listing(situation, entries)) == ()


def test_a_manager_is_waited_for_until_it_has_a_workers_certificate(tmp_path: Path) -> None:
    """A run that was killed right after the demotion has not waited."""
    situation = at_work(tmp_path)
    now = datetime.now(UTC)
    shown = {NODE: certificate(now, now + timedelta(days=1), "swarm-manager")}
    there = replace(situation.facts["node3"], answers=shown)
    plan, *_ = staged(replace(situation, facts={**situation.facts, "node3": there}))
    assert steps(plan) == [("swarm", "update", "role of node3")]
