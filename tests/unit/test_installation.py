"""Docker where it is missing: what is planned, what is refused, and which control plane it leads to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_sample import bare_situation, changed, with_values
from pki_sample import sample
from preflight_sample import failures

from provision import planes
from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.engine import foresee, make_plan
from provision.errors import PreflightRefused
from provision.facts import Facts, Unit
from provision.inventory.model import Archive, DockerEngine
from provision.phases import installation
from provision.planes.etcd.plane import PLANE as ETCD
from provision.planes.swarm.plane import PLANE as SWARM

DEBIAN12 = "20.10.24+dfsg1-1+deb12u1+b6"
DEBIAN13 = "26.1.5+dfsg1-9+b9"
INSTALL = DockerEngine(install=True)


def offered(version: str = DEBIAN12, *more: str, package: str = "docker.io") -> str:
    """The answer of a host whose apt has this version."""
    lines = ("apt yes -", f"{package} candidate {version}", f"{package} version {version}", "iptables candidate 1.8")
    return "\n".join((*lines, *more))


def without_docker(answer: str, programs: str = "iptables ", **values: str) -> Facts:
    """A host as it is without Docker, which answers what apt has."""
    bare = {"hostname": "x", "machine": "x86_64", "programs": programs, "init": "systemd", "root": "0", **values}
    more = {"machine-id": "", "vxlan": "yes", "cgroups": "yes", "docker-root": "/var/lib/docker"}
    return Facts(values={**more, **bare}, answers={"packages": answer} if answer else {})


def bare(folder: Path, engine: DockerEngine, **hosts: Facts) -> Situation:
    """Hosts of which some have no Docker."""
    situation = bare_situation(replace(sample(folder), docker_engine=engine))
    return replace(situation, facts={**situation.facts, **hosts})


def first(situation: Situation) -> list[str]:
    """The changes of the first stage."""
    stage = installation.stages(situation, ETCD.stages(situation, Goal.CONVERGE))[0]
    return [str(change) for change in make_plan(ETCD, stage.enter(situation))]


def all_without(answer: str, **values: str) -> Mapping[str, Facts]:
    return {f"node{number}": without_docker(answer, hostname=f"node{number}", **values) for number in (1, 2, 3)}


def test_218_docker_is_a_stage_of_its_own_and_nothing_else_is_in_it(tmp_path: Path) -> None:
    situation = bare(tmp_path, INSTALL, node2=without_docker(offered(), programs=""))
    assert first(situation) == [
        f"node2: install package docker.io  ({DEBIAN12}, with iptables)",
        "node2: start unit docker.service  (for the first time)",
    ]


def test_218_debian_13_has_dockers_command_line_in_a_package_of_its_own(tmp_path: Path) -> None:
    answer = offered(DEBIAN13, f"docker-cli candidate {DEBIAN13}")
    (package, _) = first(bare(tmp_path, INSTALL, node2=without_docker(answer)))
    assert package == f"node2: install package docker.io  ({DEBIAN13}, with docker-cli)"


def test_218_a_command_line_of_another_source_does_not_come_along(tmp_path: Path) -> None:
    answer = offered(DEBIAN12, f"docker-cli candidate {DEBIAN13}")
    (package, _) = first(bare(tmp_path, INSTALL, node2=without_docker(answer)))
    assert package == f"node2: install package docker.io  ({DEBIAN12})"


def test_218_the_parser_of_apparmor_comes_along_where_it_is_on(tmp_path: Path) -> None:
    answer = offered(DEBIAN12, "apparmor candidate 3.0")
    (package, _) = first(bare(tmp_path, INSTALL, node2=without_docker(answer, apparmor="yes")))
    assert package.endswith(", with apparmor)")
    (package, _) = first(bare(tmp_path, INSTALL, node2=without_docker(answer)))
    assert "apparmor" not in package


def test_218_a_host_that_has_docker_gets_none(tmp_path: Path) -> None:
    situation = bare(tmp_path, INSTALL)
    following = ETCD.stages(situation, Goal.CONVERGE)
    assert installation.stages(situation, following) == tuple(following)
    assert not any(change.phase == "install" for change in make_plan(ETCD, situation))


def test_218_the_restart_that_follows_is_foreseen(tmp_path: Path) -> None:
    situation = bare(tmp_path, INSTALL, node2=without_docker(offered()))
    before, after = installation.stages(situation, ETCD.stages(situation, Goal.CONVERGE))
    named = foresee(ETCD, before.foresee(situation), after.foresee(situation))
    assert "restart unit docker.service on node2" in named.interruptions
    assert not any(change.phase == "install" for change in named)
    # As it is found when Docker is there.
    of_dpkg = {"docker-packages": "Package: docker.io Status: install ok installed"}
    installed = changed(situation, "node2", with_values(dockerd=f"Docker version {DEBIAN12},", **of_dpkg))
    running = {"docker.service": Unit("active", "enabled", 7)}
    found = changed(installed, "node2", lambda facts: replace(facts, units=running, docker_answers=True))
    entered = after.enter(replace(found, preparing=True))
    assert set(make_plan(ETCD, entered).interruptions) <= set(named.interruptions)
    made = [(change.where, change.action, change.resource) for change in make_plan(ETCD, entered)]
    assert made == [(change.where, change.action, change.resource) for change in named]


@pytest.mark.parametrize(("version", "plane"), [(DEBIAN12, ETCD), (DEBIAN13, SWARM)])
def test_227_the_docker_that_is_to_come_decides_the_control_plane(tmp_path: Path, version: str, plane: object) -> None:
    situation = bare(tmp_path, INSTALL, **all_without(offered(version)))
    assert planes.chosen(planes.known(), situation) is plane
    archives = {"amd64": Archive(tmp_path / f"docker-{version[:7].rstrip('+')}.tgz", "0" * 64)}
    situation = bare(tmp_path, replace(INSTALL, archives=archives), **all_without(""))
    assert planes.chosen(planes.known(), situation) is plane


def test_227_hosts_that_would_get_dockers_of_two_control_planes_are_refused(tmp_path: Path) -> None:
    hosts = {**all_without(offered(DEBIAN12)), "node3": without_docker(offered(DEBIAN13))}
    with pytest.raises(
        PreflightRefused, match=r"Docker 20\.10\.24 \(etcd\) on node1, node2; Docker 26\.1\.5 \(swarm\)"
    ):
        planes.chosen(planes.known(), bare(tmp_path, INSTALL, **hosts))


def test_224_a_host_without_docker_is_refused_unless_it_is_to_be_installed(tmp_path: Path) -> None:
    (found,) = failures(bare(tmp_path, DockerEngine(), node2=without_docker(offered(), hostname="node2")))
    assert (found.check, found.where) == ("docker-version", "node2")
    assert "docker: {install: true}" in found.advice
    assert failures(bare(tmp_path, INSTALL, node2=without_docker(offered(), hostname="node2"))) == []


@pytest.mark.parametrize(
    ("engine", "answer", "what"),
    [
        (INSTALL, "", "there is no apt to install it"),
        (INSTALL, "apt yes -", "apt knows no package docker.io"),
        (INSTALL, "apt yes -\napt complaint E: no route to host", "no package docker.io: E: no route to host"),
        (replace(INSTALL, package="docker-ce"), offered(), "apt knows no package docker-ce"),
        (replace(INSTALL, version="28"), offered(), f"apt has docker.io in {DEBIAN12}, and docker.version is 28"),
        (replace(INSTALL, version="20.1"), offered(), f"apt has docker.io in {DEBIAN12}, and docker.version is 20.1"),
        (INSTALL, offered(DEBIAN13), "Docker 26.1.5, which is to be installed, is outside"),
    ],
)
def test_224_what_cannot_be_installed_is_refused(tmp_path: Path, engine: DockerEngine, answer: str, what: str) -> None:
    found = failures(bare(tmp_path, engine, node2=without_docker(answer, hostname="node2")))
    assert [one.where for one in found if what in one.evidence] == ["node2"]
    assert all(one.advice for one in found)


def test_224_a_version_that_is_asked_for_is_installed_though_another_is_the_candidate(tmp_path: Path) -> None:
    older = "20.10.5+dfsg1-1"
    answer = offered(DEBIAN12, f"docker.io version {older}")
    situation = bare(tmp_path, replace(INSTALL, version="20.10.5"), node2=without_docker(answer))
    (package, _) = ETCD.phases[0].resources(situation, situation.cluster.node("node2"))
    difference = package.compare(situation.facts["node2"])
    assert difference
    assert f"docker.io={older}" in package.apply(difference)


def static(folder: Path, content: bytes = b"docker") -> DockerEngine:
    path = folder / "docker-20.10.24.tgz"
    path.write_bytes(content)
    return DockerEngine(install=True, archives={"amd64": Archive(path, hashlib.sha256(b"docker").hexdigest())})


def test_225_a_static_release_brings_units_of_ours(tmp_path: Path) -> None:
    situation = bare(tmp_path, static(tmp_path), node2=without_docker(""))
    assert first(situation) == [
        "node2: install release docker 20.10.24  (in /usr/local/bin)",
        "node2: create file /etc/systemd/system/docker.socket",
        "node2: create file /etc/systemd/system/docker.service",
        "node2: start unit docker.service  (for the first time)",
    ]


def test_225_what_a_static_release_lacks_is_installed_by_apt(tmp_path: Path) -> None:
    situation = bare(tmp_path, static(tmp_path), node2=without_docker(offered(), programs=""))
    assert first(situation)[0] == "node2: install package iptables  (which Docker needs)"
    situation = bare(tmp_path, static(tmp_path), node2=without_docker("", programs="", hostname="node2"))
    assert "iptables is missing, which Docker needs" in failures(situation)[0].evidence


@pytest.mark.parametrize(
    ("engine", "machine", "what"),
    [
        (lambda folder: static(folder, b"other"), "x86_64", "its sha256 is"),
        (
            lambda folder: replace(static(folder), archives={"amd64": Archive(folder / "gone", "0")}),
            "x86_64",
            "No such",
        ),
        (static, "aarch64", "docker.source has no archive for arm64"),
        (static, "riscv64", "docker.source has no archive for riscv64"),
    ],
)
def test_223_an_archive_that_is_not_the_right_one_is_refused(
    tmp_path: Path, engine: object, machine: str, what: str
) -> None:
    host = without_docker("", machine=machine, hostname="node2")
    assert callable(engine)
    found = failures(bare(tmp_path, engine(tmp_path), node2=host))
    assert [bool(one.advice) for one in found if what in one.evidence] == [True]
