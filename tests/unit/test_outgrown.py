"""Docker was upgraded past the control plane of its cluster: what is said of it, and what keeps it from happening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path as LocalPath

import pytest
from cluster_sample import bare_situation, changed, planned_sample, with_values
from pki_sample import sample
from preflight_sample import docker, failures

from provision.checks import outgrown
from provision.core.situation import Situation
from provision.engine import steps
from provision.inventory.model import DockerEngine
from provision.planes.etcd import node as etcd_node
from provision.planes.etcd.plane import PLANE
from provision.planes.swarm.plane import PLANE as SWARM
from provision.resources import HeldPackage

PACKAGES = "Package: docker.io Status: {0} ok installed Priority: optional Section: admin"
TWO = (
    "Package: docker-ce-cli Status: {0} ok installed Section: admin -- "
    "Package: docker-ce Essential: no Status: {1} ok installed"
)


def upgraded(situation: Situation, versions: Mapping[str, str]) -> Situation:
    for name, version in versions.items():
        situation = changed(situation, name, docker(version))
    return situation


def test_237_one_of_the_hosts_has_outgrown_its_cluster(tmp_path: LocalPath) -> None:
    (found,) = failures(upgraded(planned_sample(tmp_path), {"node2": "26.1.5+dfsg1"}))
    assert (found.check, found.where) == ("docker-version", "node2")
    assert found.evidence == (
        "Docker 26.1.5 is too new for the cluster's control plane, etcd, which needs 20.10 and later, below 23 "
        "(node1 has 20.10.24): no container on the cluster's networks starts here, others run"
    )
    assert found.advice == "fab migrate --plan shows how the cluster goes on with swarm mode"


def test_238_every_host_has_outgrown_it(tmp_path: LocalPath) -> None:
    versions = {"node1": "26.1.5", "node2": "28.5.2", "node3": "23.0.0"}
    found = failures(upgraded(planned_sample(tmp_path), versions))
    assert [(one.check, one.where) for one in found] == [("docker-version", name) for name in versions]
    assert all(f"Docker {versions[one.where]} is too new" in one.evidence for one in found)
    assert all("fab migrate" in one.advice and "install" not in one.advice for one in found)


def test_237_a_host_that_is_new_to_the_cluster_has_outgrown_nothing(tmp_path: LocalPath) -> None:
    situation = upgraded(bare_situation(sample(tmp_path)), {"node2": "26.1.5"})
    assert outgrown.versions(PLANE, situation) == {}
    assert "install Docker 20.10" in failures(situation)[0].advice


@pytest.mark.parametrize("version", ["20.10.24", "22.06.0", ""])
def test_237_a_docker_with_a_cluster_store_has_outgrown_nothing(tmp_path: LocalPath, version: str) -> None:
    assert outgrown.problems(PLANE, upgraded(planned_sample(tmp_path), {"node2": version})) == ()


def test_237_no_docker_is_known_to_outgrow_swarm_mode(tmp_path: LocalPath) -> None:
    assert outgrown.versions(SWARM, upgraded(planned_sample(tmp_path), {"node2": "99.0.0"})) == {}


def test_237_the_program_on_a_node_and_the_control_plane_know_the_same_limit() -> None:
    assert f"too_new={PLANE.docker_versions.limit[0]} " in etcd_node.functions("docker_store")


def holds(situation: Situation) -> list[tuple[str, str]]:
    return [
        (step.node.name, step.change.resource)
        for step in steps(PLANE, situation)
        if isinstance(step.resource, HeldPackage)
    ]


def packages(situation: Situation, text: str) -> Situation:
    return changed(situation, "node2", with_values(**{"docker-packages": text}))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (PACKAGES.format("install"), ["docker.io"]),
        (TWO.format("install", "install"), ["docker-ce-cli", "docker-ce"]),
        (TWO.format("hold", "install"), ["docker-ce"]),
    ],
)
def test_241_the_packages_of_docker_are_held_and_the_plan_says_why(
    tmp_path: LocalPath, text: str, held: list[str]
) -> None:
    situation = packages(planned_sample(tmp_path), text)
    assert holds(situation) == [("node2", f"package {name}") for name in held]
    (change, *_) = [step.change for step in steps(PLANE, situation) if step.node.name == "node2"]
    assert str(change) == f"node2: hold package {held[0]}  (Docker 23 has no cluster store)"
    assert not change.restarts


@pytest.mark.parametrize("text", [PACKAGES.format("hold"), TWO.format("hold", "hold"), ""])
def test_242_what_is_held_already_or_from_no_package_is_left_alone(tmp_path: LocalPath, text: str) -> None:
    assert holds(packages(planned_sample(tmp_path), text)) == []


def test_242_the_inventory_may_want_no_hold(tmp_path: LocalPath) -> None:
    situation = packages(planned_sample(tmp_path), PACKAGES.format("install"))
    cluster = replace(situation.cluster, docker_engine=DockerEngine(hold=False))
    assert holds(replace(situation, cluster=cluster)) == []
