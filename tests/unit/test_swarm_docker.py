"""Swarm mode: dockerd's drop-in and our defaults, when it restarts, and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from cluster_sample import VENDOR_UNIT, changed, lines, with_resource, with_unit, with_values
from test_swarm import NODES, at_work, bare, listed

from provision import layout
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.facts import Container
from provision.inventory.model import Hardening
from provision.planes.swarm.plane import PLANE
from provision.resources import File

DOCKER = next(phase for phase in PLANE.phases if phase.name == "docker")


def provisioned(situation: Situation) -> Situation:
    """The situation in which every dockerd was started with what the phase wants."""
    for node in NODES:
        facts = situation.of(node)
        for resource in DOCKER.resources(situation, node):
            facts = with_resource(facts, resource)
        situation = replace(situation, facts={**situation.facts, node.name: facts})
    return situation


def hardened_otherwise(situation: Situation) -> Situation:
    cluster = replace(situation.cluster, hardening=Hardening(rotate_logs=False))
    return replace(situation, cluster=cluster)


def waves(situation: Situation) -> list[list[str]]:
    plan = make_plan(PLANE, situation)
    changes = {node.name: plan.of(node.name, "docker") for node in NODES}
    return [[node.name for node in wave] for wave in DOCKER.waves(situation, changes) if wave]


def restarts(situation: Situation) -> list[str]:
    return lines(make_plan(PLANE, situation).restarts)


def texts(situation: Situation, name: str) -> dict[str, str]:
    held = DOCKER.resources(situation, situation.cluster.node(name))
    return {one.path: (one.content or b"").decode() for one in held if isinstance(one, File)}


def test_the_first_run_restarts_every_dockerd_at_once_before_the_swarm_is_made(tmp_path: Path) -> None:
    situation = bare(tmp_path)
    assert waves(situation) == [["node1", "node2", "node3"]]
    changes = make_plan(PLANE, situation).changes
    phases = [change.phase for change in changes]
    assert phases.index("docker") < phases.index("swarm")
    assert restarts(situation) == [f"{node.name}: restart unit docker.service" for node in NODES]


def test_as_provisioned_nothing_of_it_changes(tmp_path: Path) -> None:
    situation = provisioned(at_work(tmp_path))
    assert waves(situation) == []
    assert restarts(situation) == []


def test_another_default_restarts_one_dockerd_at_a_time_and_the_leaders_last(tmp_path: Path) -> None:
    situation = hardened_otherwise(provisioned(at_work(tmp_path)))
    assert lines(make_plan(PLANE, situation).of("node2", "docker")) == [
        "node2: update file /etc/docker/overlay/hardening",
        "node2: restart unit docker.service",
    ]
    assert waves(situation) == [["node2"], ["node3"], ["node1"]]
    leads = {"node1": listed(NODES[0]), "node2": listed(NODES[1], leader=True)}
    assert waves(hardened_otherwise(provisioned(at_work(tmp_path, **leads)))) == [["node1"], ["node3"], ["node2"]]


def test_a_swarm_of_an_earlier_version_restarts_one_dockerd_at_a_time_with_its_containers_named(
    tmp_path: Path,
) -> None:
    situation = at_work(tmp_path)
    user = Container("1" * 64, "web", ("demo",), "no")
    situation = changed(situation, "node2", lambda facts: replace(facts, containers=(user,)))
    assert waves(situation) == [["node2"], ["node3"], ["node1"]]
    assert make_plan(PLANE, situation).stopped == ("node2: web",)


def test_a_dockerd_that_does_not_run_is_started_first_and_waits_for_nobody(tmp_path: Path) -> None:
    situation = hardened_otherwise(provisioned(at_work(tmp_path)))
    situation = changed(situation, "node3", with_unit(layout.DOCKER_UNIT, state="failed", process=0))
    situation = changed(situation, "node3", lambda facts: replace(facts, docker={}))
    assert waves(situation) == [["node3"], ["node2"], ["node1"]]
    assert awaited(situation, "node3") == []


def awaited(situation: Situation, *names: str) -> list[str]:
    """Return before what a quorum is awaited, if these nodes change."""

    class Door:
        occasions: list[str] = []  # noqa: RUF012

        def await_quorum(self, occasion: str) -> None:
            self.occasions.append(occasion)

    door: Any = Door()
    DOCKER.before(situation, cast("Coordinator", door), tuple(situation.cluster.node(name) for name in names))
    return list(door.occasions)


def test_a_quorum_is_awaited_only_where_a_dockerd_in_the_swarm_restarts(tmp_path: Path) -> None:
    assert awaited(bare(tmp_path), "node1", "node2", "node3") == []
    assert awaited(provisioned(at_work(tmp_path)), "node1", "node2") == []
    situation = hardened_otherwise(provisioned(at_work(tmp_path)))
    assert awaited(situation, "node2") == ["before dockerd restarts on node2"]


@pytest.mark.parametrize(
    ("options", "config", "ours"),
    [
        ("", "/etc/docker/daemon.json", True),
        ('"--config-file=/opt/d.json"', "/opt/d.json", True),
        ('"--no-new-privileges=false"', "/etc/docker/daemon.json", False),
    ],
)
def test_the_drop_in_keeps_the_vendors_command_and_reads_the_users_configuration(
    tmp_path: Path, options: str, config: str, ours: bool
) -> None:
    variables = f"# /etc/default/docker\nDOCKER_OPTS={options}\n"
    values = with_values(docker_unit=VENDOR_UNIT, docker_options=variables)
    held = texts(changed(bare(tmp_path), "node1", values), "node1")
    settings = held[layout.DOCKER_DROP_IN].splitlines()
    command = f"ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS --config-file={layout.DOCKER_RUN_CONFIG}"
    program = f"/bin/sh /usr/local/lib/overlay-provision/docker-config {config}"
    assert [line for line in settings if line.startswith("ExecStart=/")] == [command]
    assert f"ExecStartPre={program}" in settings
    assert settings[settings.index(f"ExecReload={program}") + 1] == "ExecReload=/bin/kill -s HUP $MAINPID"
    assert ("no-new-privileges" in held[layout.DOCKER_HARDENING]) == ours


def test_a_dockerd_that_is_told_its_addresses_gets_none_of_ours(tmp_path: Path) -> None:
    """With `hosts` in daemon.json, dockerd refuses `-H` on its command line."""
    unit = "# /etc/systemd/system/docker.service\n[Service]\nExecStart=/usr/bin/dockerd\n"
    held = texts(changed(bare(tmp_path), "node1", with_values(docker_unit=unit)), "node1")
    assert f"ExecStart=/usr/bin/dockerd --config-file={layout.DOCKER_RUN_CONFIG}\n" in held[layout.DOCKER_DROP_IN]
