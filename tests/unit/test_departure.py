"""Hosts that leave by `state: absent`: what is planned, in which order, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as LocalPath

import pytest
from cluster_sample import answering, changed, lines, network, planned, sees, store_member, with_values
from pki_sample import node, sample

from provision import layout
from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import Container, Facts
from provision.gathering import question
from provision.inventory.model import Node
from provision.planes.etcd import paths
from provision.planes.etcd.plane import PLANE

NODES = tuple(node(f"node{number}", f"192.0.2.{number}") for number in (1, 2, 3))


def absent(folder: LocalPath, leaver: Node = NODES[2]) -> Situation:
    """Three nodes at work, of which the last one is now to leave."""
    nodes = (*NODES[:2], leaver)
    situation = planned(replace(sample(folder), nodes=nodes, firewall=True))
    situation = changed(situation, leaver.name, with_values(record="yes"))
    cluster = replace(situation.cluster, nodes=nodes[:2], absent=nodes[2:])
    members = [store_member(one, clientURLs=[f"https://{one.address}:2379"]) for one in situation.cluster.members]
    for one in nodes:
        situation = changed(situation, one.name, answering(members=members))
    first = situation.facts["node1"]
    healthy = replace(first, answers={**first.answers, "healthy": f"https://{leaver.address}:2379"})
    return replace(situation, cluster=cluster, facts={**situation.facts, "node1": healthy})


def cluster_lines(situation: Situation) -> list[list[str]]:
    """What each stage changes that is on no single node, the later ones as they are foreseen."""
    first, *later = PLANE.stages(situation, Goal.CONVERGE)
    plans = [make_plan(PLANE, first.enter(situation))]
    plans += [make_plan(PLANE, one.enter(one.foresee(situation))) for one in later if one.foresee]
    return [[line for line in lines(plan) if line.startswith("cluster: ")] for plan in plans]


def test_a_member_leaves_networks_then_the_store_and_is_put_back_last(tmp_path: LocalPath) -> None:
    assert cluster_lines(absent(tmp_path)) == [
        [
            "cluster: remove node3 from the networks",
            "cluster: remove member node3",
            "cluster: remove everything of ours on node3",
        ],
        [],
    ]


def test_a_node_that_is_no_member_leaves_as_well_and_is_let_in_until_it_has_left(tmp_path: LocalPath) -> None:
    situation = absent(tmp_path, replace(NODES[2], member=False))
    assert cluster_lines(situation)[0] == [
        "cluster: remove node3 from the networks",
        "cluster: remove everything of ours on node3",
    ]
    first, second = PLANE.stages(situation, Goal.CONVERGE)
    assert not [line for line in lines(make_plan(PLANE, first.enter(situation))) if layout.FIREWALL_RULES in line]
    assert second.foresee
    shut = lines(make_plan(PLANE, second.enter(second.foresee(situation))))
    assert [line for line in shut if layout.FIREWALL_RULES in line] == [
        f"node{number}: update file {layout.FIREWALL_RULES}" for number in (1, 2)
    ]


def test_its_containers_on_shared_networks_are_named_and_need_a_yes(tmp_path: LocalPath) -> None:
    containers = (
        Container("1" * 12, "overlay-keeper-demo-node3", ("demo",)),
        Container("2" * 12, "web", ("bridge", "demo")),
        Container("3" * 12, "plain", ("bridge",)),
    )
    situation = changed(absent(tmp_path), "node3", lambda facts: replace(facts, containers=containers))
    situation = changed(situation, "node3", sees(network("demo", "10.99.0.0/24")))
    withdrawal = make_plan(PLANE, PLANE.stages(situation, Goal.CONVERGE)[0].enter(situation)).changes[0]
    assert withdrawal.note == "web disconnected; its Docker restarts, configured as before"
    consent = "take node3 out of the cluster, disconnect web from its networks, and restart its Docker"
    assert withdrawal.consent == consent


@pytest.mark.parametrize("change", ["drop-in", "inputs"])
def test_a_dockerd_that_was_put_back_in_part_is_put_back_again(tmp_path: LocalPath, change: str) -> None:
    def partly(facts: Facts) -> Facts:
        if change == "drop-in":
            return replace(facts, paths={p: f for p, f in facts.paths.items() if p != layout.DOCKER_DROP_IN})
        units = {**facts.units, layout.DOCKER_UNIT: replace(facts.unit(layout.DOCKER_UNIT), inputs={})}
        return replace(facts, units=units)

    situation = changed(absent(tmp_path), "node3", partly)
    assert cluster_lines(situation)[0][0] == "cluster: remove node3 from the networks"


def test_a_host_that_has_left_is_said_and_nothing_is_planned_for_it(tmp_path: LocalPath) -> None:
    situation = absent(tmp_path, replace(NODES[2], member=False))
    situation = replace(situation, facts={**situation.facts, "node3": Facts()})
    assert cluster_lines(situation) == [[]]
    (said,) = (problem for problem in PLANE.warnings(situation) if problem.where == "node3")
    assert said.advice == "delete its entry from the inventory"
    unasked = replace(situation, facts={name: facts for name, facts in situation.facts.items() if name != "node3"})
    assert "node3" not in [problem.where for problem in PLANE.warnings(unasked)]


def test_nobody_leaves_while_the_store_has_no_quorum(tmp_path: LocalPath) -> None:
    situation = absent(tmp_path, replace(NODES[2], member=False))
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(status={}))
    with pytest.raises(PreflightRefused, match="node3 cannot leave: the store has no quorum"):
        make_plan(PLANE, situation)


def test_certificates_are_not_renewed_while_a_host_is_about_to_leave(tmp_path: LocalPath) -> None:
    situation = absent(tmp_path, replace(NODES[2], member=False))
    with pytest.raises(PreflightRefused, match="about to leave"):
        PLANE.stages(situation, Goal.RENEW)


def test_a_host_that_leaves_is_asked_for_what_it_holds_and_nothing_is_wanted_there(tmp_path: LocalPath) -> None:
    situation = absent(tmp_path)
    asked = question(PLANE, situation, situation.cluster.absent[0])
    assert {layout.DOCKER_DROP_IN, paths.ETCD_BOOTSTRAP} <= set(asked.paths)
    assert layout.FIREWALL_RULES not in asked.paths
