"""Row 91: a cluster whose controller is lost is taken over as the old side of a rotation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cluster_sample import changed, foreseen, lines, planned, planned_sample, sees
from handshakes import RESTARTS, Held, content

from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.inventory.model import Cluster, Node
from provision.pki.leaf import Leaf
from provision.planes.etcd import pki
from provision.planes.etcd.local import local, with_identity
from provision.planes.etcd.phases.pki import Place, docker_places, etcd_places
from provision.planes.etcd.pki import Authority, Identity, RotationTarget, Step
from provision.planes.etcd.plane import PLANE


def found_on(situation: Situation) -> tuple[dict[Authority, set[str]], dict[Leaf, tuple[bytes, bytes]]]:
    """What an adopting controller reads from the nodes."""
    authorities: dict[Authority, set[str]] = {name: set() for name in Authority}
    pairs = {}
    places: list[tuple[Node, Place]] = [
        (node, place) for node in situation.cluster.nodes for place in (*etcd_places(node), *docker_places(node))
    ]
    for node, place in places:
        authorities[Authority(place.leaf.authority)].add(content(situation, node, place.authority).decode())
        pairs[place.leaf] = (content(situation, node, place.certificate), content(situation, node, place.key))
    return authorities, pairs


def new_controller(tmp_path: Path, situation: Situation) -> Cluster:
    """The same inventory elsewhere, without the folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return replace(situation.cluster, path=folder / "inventory.yml")


def test_91_what_nodes_hold_is_taken_over_as_the_old_side_of_a_rotation(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    cluster = new_controller(tmp_path, situation)
    assert pki.take_over(cluster, *found_on(situation))
    assert [target.step for target in pki.remaining(cluster.folder)] == list(Step)
    situation = replace(situation, cluster=cluster)
    named = dict(zip((Step.LEAVES, Step.DROP), foreseen(situation, Goal.ROTATE), strict=True))
    for step in Step:
        before = with_identity(situation, Identity.read(cluster, target=RotationTarget(step)))
        plan = make_plan(PLANE, before)
        assert lines(plan.restarts) == RESTARTS[step]
        # The sample's keepers are where the controller may come to Docker, and real ones stay.
        others = [change for change in plan if change.phase != "keeper"]
        assert step is Step.TRUST or lines(named[step]) == lines(others)
        after = with_identity(before, pki.make(cluster, target=RotationTarget(step)))
        names = ("node1", "node3", "node2")
        for number in range(len(names) + 1):
            held = Held({name: after if name in names[:number] else situation for name in names})
            assert list(held.refusals(after)) == []
        situation = planned(cluster, local(after).identity)
    assert {path.stat().st_mode & 0o777 for path in cluster.folder.rglob("*.key")} == {0o400}
    assert Identity.read(cluster).missing() == ()


def test_91_a_taken_over_cluster_has_no_network_made_before_docker_lets_the_controller_in(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for node in situation.cluster.nodes:
        situation = changed(situation, node.name, sees())
    cluster = new_controller(tmp_path, situation)
    assert pki.take_over(cluster, *found_on(situation))
    plans = {
        step: make_plan(
            PLANE, with_identity(replace(situation, cluster=cluster), pki.make(cluster, target=RotationTarget(step)))
        )
        for step in (Step.TRUST, Step.LEAVES)
    }
    assert {step: len(plan.of("cluster", "overlay")) for step, plan in plans.items()} == {Step.TRUST: 0, Step.LEAVES: 1}


@pytest.mark.parametrize("step", [Step.TRUST, Step.LEAVES])
def test_91_a_cluster_whose_controller_was_lost_in_a_rotation_is_taken_over_too(tmp_path: Path, step: Step) -> None:
    situation = planned_sample(tmp_path)
    for each in list(Step)[: step.number]:
        situation = planned(situation.cluster, pki.make(situation.cluster, target=RotationTarget(each)))
    cluster = new_controller(tmp_path, situation)
    assert pki.take_over(cluster, *found_on(situation))
    after = with_identity(replace(situation, cluster=cluster), pki.make(cluster, target=RotationTarget(Step.TRUST)))
    for changed_nodes in ((), ("node1",), ("node1", "node2", "node3")):
        held = Held({node.name: after if node.name in changed_nodes else situation for node in cluster.nodes})
        assert list(held.refusals(after)) == []


@pytest.mark.parametrize("wrong", ["a leaf missing", "another's leaf", "another's authority", "a key missing"])
def test_91_what_is_not_all_of_one_cluster_is_not_taken_over(tmp_path: Path, wrong: str) -> None:
    situation = planned_sample(tmp_path)
    authorities, pairs = found_on(situation)
    first, second, *_ = pairs
    if wrong == "a leaf missing":
        del pairs[first]
    elif wrong == "another's leaf":
        pairs[first] = pairs[second]
    elif wrong == "a key missing":
        pairs[first] = (pairs[first][0], b"")
    else:
        authorities[Authority.PEER] = authorities[Authority.DOCKER]
    cluster = new_controller(tmp_path, situation)
    assert not pki.take_over(cluster, authorities, pairs)
    assert not cluster.folder.exists()
