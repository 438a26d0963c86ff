"""Which control plane a cluster gets: by the inventory, the record, what its nodes hold, and their Docker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_sample import bare_situation, changed, planned_sample, with_values
from pki_sample import sample

from provision import gathering, planes
from provision.checks import catalogue, node_view
from provision.core import outcome
from provision.core.check import PREFLIGHT, Check, check
from provision.core.outcome import Outcome
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.errors import PreflightRefused, UsageError
from provision.facts import Facts, PathFact, Question
from provision.inventory.model import Cluster, Node, PlaneName
from provision.planes.etcd import pki, release
from provision.planes.etcd.plane import PLANE
from provision.versions import Window


@check(PREFLIGHT)
def managers_agree(view: Any) -> Iterator[Outcome]:  # noqa: ARG001
    """The other plane has a check of its own."""
    yield from ()


class Swarming(Plane):
    """A second control plane, for another Docker."""

    name = "swarm"
    docker_versions = Window(((19, 3),), (99,))
    phases = ()
    ports = ()

    def is_on(self, facts: Facts) -> bool:
        return "/etc/swarming" in facts.paths

    def question(self, situation: Situation, node: Node) -> Question:
        return Question(paths=(f"/etc/{situation.local}",))

    def checks(self) -> tuple[Check, ...]:
        return (managers_agree,)


SWARMING = Swarming()
BOTH = (PLANE, SWARMING)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are two control planes."""
    monkeypatch.setattr(planes, "known", lambda: BOTH)


def cluster_of(folder: Path, word: PlaneName = "auto") -> Cluster:
    return replace(sample(folder), control_plane=word)


def recorded(cluster: Cluster, text: bytes) -> Cluster:
    cluster.folder.mkdir(parents=True)
    (cluster.folder / planes.RECORD).write_bytes(text)
    return cluster


def nodes_with(folder: Path, versions: Mapping[str, str]) -> Situation:
    """Nodes that have answered, each with a version of Docker, or none."""
    facts = {
        name: Facts(values={"dockerd": f"Docker version {version}, build 1"} if version else {})
        for name, version in versions.items()
    }
    return Situation(cluster_of(folder), facts=facts)


@pytest.mark.parametrize(
    ("versions", "plane"),
    [
        ({"node1": "20.10.24+dfsg1", "node2": "20.10.24+dfsg1"}, PLANE),
        ({"node1": "19.03.15", "node2": "20.10.24"}, PLANE),
        ({"node1": "26.1.5+dfsg1", "node2": "26.1.5+dfsg1"}, SWARMING),
        ({"node1": "23.0.0", "node2": "28.2.2"}, SWARMING),
        ({"node1": "26.1.5", "node2": ""}, SWARMING),
        ({"node1": "17.05.0-ce", "node2": "17.05.0-ce"}, PLANE),
        ({"node1": "", "node2": ""}, PLANE),
        ({}, PLANE),
    ],
)
def test_44_the_nodes_docker_chooses(tmp_path: Path, versions: Mapping[str, str], plane: Plane) -> None:
    assert planes.chosen(BOTH, nodes_with(tmp_path, versions)) is plane
    if any(versions.values()):
        assert planes.chosen(BOTH[::-1], nodes_with(tmp_path, versions)) is plane


def test_44_dockers_of_different_control_planes_are_refused_with_the_nodes_that_have_them(tmp_path: Path) -> None:
    versions = {"node1": "20.10.24", "node2": "26.1.5", "node3": "26.1.5", "node4": ""}
    with pytest.raises(PreflightRefused) as caught:
        planes.chosen(BOTH, nodes_with(tmp_path, versions))
    (problem,) = caught.value.problems
    assert problem.what.endswith(": Docker 20.10.24 (etcd) on node1; Docker 26.1.5 (swarm) on node2, node3")
    assert "the same Docker on every node, or write docker.control_plane: etcd or swarm" in problem.advice


def test_44_what_cannot_be_chosen_is_left_to_preflight(tmp_path: Path) -> None:
    assert planes.chosen((PLANE,), nodes_with(tmp_path, {"node1": "20.10.24", "node2": "26.1.5"})) is PLANE


def test_what_the_nodes_hold_counts_before_their_docker(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for name in situation.facts:
        situation = changed(situation, name, with_values(dockerd="Docker version 26.1.5, build 1"))
    assert planes.chosen(BOTH, situation) is PLANE
    held = Facts(paths={"/etc/swarming": PathFact("file", 0o644, "root:root")})
    assert planes.chosen(BOTH, Situation(situation.cluster, facts={"node1": held})) is SWARMING


@pytest.mark.usefixtures("both")
def test_the_inventorys_word_leaves_one(tmp_path: Path) -> None:
    assert planes.candidates(cluster_of(tmp_path)) == BOTH
    assert planes.candidates(cluster_of(tmp_path, "etcd")) == (PLANE,)
    assert planes.candidates(cluster_of(tmp_path, "swarm")) == (SWARMING,)


def test_a_control_plane_of_a_later_version_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "known", lambda: (PLANE,))
    with pytest.raises(UsageError, match="control_plane: swarm is not available in this version"):
        planes.candidates(cluster_of(tmp_path, "swarm"))


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("plane", BOTH)
def test_what_was_recorded_is_the_only_candidate(tmp_path: Path, plane: Plane) -> None:
    cluster = cluster_of(tmp_path)
    assert planes.recorded(cluster) is None
    planes.record(cluster, plane)
    assert planes.candidates(cluster) == (plane,)
    assert planes.candidates(replace(cluster, control_plane=plane.name)) == (plane,)


@pytest.mark.usefixtures("both")
def test_an_inventory_that_contradicts_the_record_is_refused(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, "swarm")
    planes.record(cluster, PLANE)
    with pytest.raises(PreflightRefused) as caught:
        planes.candidates(cluster)
    (problem,) = caught.value.problems
    assert problem.what == "docker.control_plane: swarm, but the cluster was provisioned with etcd"
    assert "write `control_plane: etcd`, or auto" in problem.advice
    assert str(cluster.folder) in problem.advice


@pytest.mark.usefixtures("both")
def test_a_cluster_from_before_the_record_keeps_its_control_plane(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path)
    pki.make(cluster)
    assert planes.candidates(cluster) == (PLANE,)
    with pytest.raises(PreflightRefused, match="provisioned with etcd"):
        planes.candidates(replace(cluster, control_plane="swarm"))


@pytest.mark.usefixtures("both")
def test_a_folder_that_holds_a_failed_runs_bundle_alone_records_nothing(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path)
    (cluster.folder / "bundles").mkdir(parents=True)
    assert planes.candidates(cluster) == BOTH


@pytest.mark.parametrize("text", [b"", b"swarm-of-tomorrow\n", b"\xff\xfe", b"etcd swarm\n"])
def test_a_record_that_cannot_be_read_is_one_problem(tmp_path: Path, text: bytes) -> None:
    cluster = recorded(cluster_of(tmp_path), text)
    with pytest.raises(PreflightRefused) as caught:
        planes.candidates(cluster)
    (problem,) = caught.value.problems
    assert problem.where == str(cluster.folder / planes.RECORD)
    assert "bring it back from a copy: it holds the name of the cluster's control plane (etcd, swarm)" in problem.advice


def test_a_record_that_is_a_folder_is_one_problem(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path)
    (cluster.folder / planes.RECORD).mkdir(parents=True)
    with pytest.raises(PreflightRefused, match="cannot be read"):
        planes.candidates(cluster)


def test_the_record_is_written_once_and_closed_to_others(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path)
    planes.record(cluster, PLANE)
    path = cluster.folder / planes.RECORD
    before = path.stat()
    assert path.read_bytes() == b"etcd\n"
    assert [one.stat().st_mode & 0o777 for one in (path, cluster.folder, cluster.folder.parent)] == [
        0o600,
        0o700,
        0o700,
    ]
    assert (cluster.folder.parent / ".gitignore").read_text() == "*\n"
    planes.record(cluster, SWARMING)
    assert (path.stat().st_ino, path.read_bytes()) == (before.st_ino, b"etcd\n")


def test_a_record_that_was_half_written_by_a_killed_run_is_none(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path)
    cluster.folder.mkdir(parents=True)
    (cluster.folder / f"{planes.RECORD}.new").write_bytes(b"et")
    assert planes.recorded(cluster) is None
    planes.record(cluster, PLANE)
    assert planes.recorded(cluster) is PLANE
    assert [path.name for path in cluster.folder.iterdir()] == [planes.RECORD]


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_change(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path)
    cluster.folder.parent.write_text("a file in its place")
    with pytest.raises(PreflightRefused, match="cannot write"):
        planes.record(cluster, PLANE)


def test_44_a_recorded_control_plane_stays_whatever_the_docker(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    for name in situation.facts:
        situation = changed(situation, name, with_values(dockerd="Docker version 26.1.5, build 1"))
    told = {
        recorded: list(
            outcome.failures(node_view.run(PLANE, replace(situation, recorded=recorded), catalogue.of_preflight(PLANE)))
        )
        for recorded in (False, True)
    }
    assert {one.check for outcomes in told.values() for one in outcomes} == {"docker-version"}
    assert all("install Docker 20.10" in one.advice for outcomes in told.values() for one in outcomes)
    words = f"the cluster was provisioned with etcd, as {situation.cluster.folder} says, and stays with it"
    assert [words in one.advice for one in (*told[False], *told[True])] == [False] * 3 + [True] * 3


def test_each_node_is_asked_for_all_candidates_in_one_script(tmp_path: Path) -> None:
    first, second = bare_situation(sample(tmp_path)), Situation(sample(tmp_path), "swarming")
    alone, joined = gathering.scripts({PLANE: first}), gathering.scripts({PLANE: first, SWARMING: second})
    assert joined.keys() == alone.keys() == first.facts.keys()
    for name, script in joined.items():
        assert "/etc/swarming" in script
        assert "/etc/swarming" not in alone[name]
        assert script.replace(" /etc/swarming", "") == alone[name]


def test_a_check_of_any_candidate_may_be_named() -> None:
    neutral, own = catalogue.of_preflight(), catalogue.of_preflight(PLANE)
    assert catalogue.of_preflight(SWARMING) == (*neutral, managers_agree)
    assert catalogue.of_preflight(PLANE, SWARMING) == (*own, managers_agree)
    assert catalogue.of_preflight(SWARMING, PLANE) == (*neutral, managers_agree, *own[len(neutral) :])


def test_42_the_control_plane_that_needs_a_release_says_that_none_is_named(tmp_path: Path) -> None:
    cluster = replace(cluster_of(tmp_path), etcd=None)
    _, (problem,) = PLANE.local(cluster)
    assert problem.where == str(cluster.path)
    assert "etcd: this key is missing" in problem.what
    assert "add etcd: {version: 3.5.30}" in problem.advice
    with pytest.raises(PreflightRefused):
        release.load(cluster)
