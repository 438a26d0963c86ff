"""What each phase holds, and whom it changes together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from cluster_sample import (
    answering,
    bare_situation,
    changed,
    lines,
    network,
    planned_sample,
    sees,
    store_member,
    with_unit,
)
from pki_sample import node, sample

from provision import layout
from provision.core.phase import Phase, Wave
from provision.core.situation import Situation
from provision.docker.vendor import Vendor
from provision.engine import make_plan
from provision.facts import Facts
from provision.inventory.model import Network
from provision.phases.networks import changed_networks
from provision.planes.etcd import paths
from provision.planes.etcd.phases.docker import vendor_command
from provision.planes.etcd.plane import PLANE
from provision.resources import File, Image, Resource
from provision.versions import Window

PHASES = {phase.name: phase for phase in PLANE.phases}


def names(waves: tuple[Wave, ...]) -> list[list[str]]:
    return [[node.name for node in wave] for wave in waves if wave]


def waves(phase: Phase, situation: Situation) -> list[list[str]]:
    plan = make_plan(PLANE, situation)
    return names(
        phase.waves(situation, {node.name: plan.of(node.name, phase.name) for node in situation.cluster.nodes})
    )


def started_on_other_inputs(unit: str) -> Callable[[Facts], Facts]:
    def change(facts: Facts) -> Facts:
        inputs = dict.fromkeys(facts.unit(unit).inputs, "0" * 64)
        return with_unit(unit, inputs=inputs)(facts)

    return change


def disturbed(situation: Situation, unit: str, *on: str) -> Situation:
    for name in on:
        situation = changed(situation, name, started_on_other_inputs(unit))
    return situation


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("host", ["node1", "node2", "node3"]),
        ("pki", ["node1", "node2"]),
        ("etcd", ["node1", "node2"]),
        ("docker", ["node1", "node2", "node3"]),
    ],
)
def test_bare_hosts_change_together(tmp_path: Path, phase: str, expected: list[str]) -> None:
    assert waves(PHASES[phase], bare_situation(sample(tmp_path))) == [expected]


@pytest.mark.parametrize("phase", ["host", "pki", "etcd", "docker", "overlay", "keeper"])
def test_hosts_as_planned_change_in_no_wave(tmp_path: Path, phase: str) -> None:
    assert waves(PHASES[phase], planned_sample(tmp_path)) == []


@pytest.mark.parametrize(
    ("phase", "unit", "on"),
    [("etcd", paths.ETCD_UNIT, ["node1", "node2"]), ("docker", layout.DOCKER_UNIT, ["node1", "node3", "node2"])],
)
def test_units_of_ours_that_run_restart_one_by_one(tmp_path: Path, phase: str, unit: str, on: list[str]) -> None:
    situation = disturbed(planned_sample(tmp_path), unit, *on)
    assert waves(PHASES[phase], situation) == [[name] for name in on]


def test_who_restarts_nothing_of_ours_goes_first_and_together(tmp_path: Path) -> None:
    situation = disturbed(planned_sample(tmp_path), layout.DOCKER_UNIT, "node1")
    situation = changed(situation, "node2", with_unit(layout.DOCKER_UNIT, inputs={}))  # the vendor's, as on a bare host
    situation = changed(situation, "node3", with_unit(layout.DOCKER_UNIT, state="failed"))
    assert waves(PHASES["docker"], situation) == [["node2", "node3"], ["node1"]]


def test_a_file_changed_without_a_restart_needs_no_turn_of_its_own(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for name in ("node1", "node2"):
        situation = changed(situation, name, with_unit(paths.ETCD_UNIT, enablement="disabled"))
    assert waves(PHASES["etcd"], situation) == [["node1", "node2"]]


def test_who_joins_comes_last_and_each_alone(tmp_path: Path) -> None:
    situation = disturbed(planned_sample(tmp_path), paths.ETCD_UNIT, "node1")
    nodes = (*(replace(one, member=True) for one in situation.cluster.nodes), node("node4", "192.0.2.4"))
    situation = replace(situation, cluster=replace(situation.cluster, nodes=nodes))
    assert waves(PHASES["etcd"], situation) == [["node1"], ["node3"], ["node4"]]


def test_a_learner_with_nothing_to_change_is_still_promoted(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    node1, node2 = situation.cluster.members
    members = (store_member(node1), store_member(node2, isLearner=True))
    for name in ("node1", "node2"):
        situation = changed(situation, name, answering(members=members))
    assert lines(make_plan(PLANE, situation)) == ["cluster: add member node2"]
    assert waves(PHASES["etcd"], situation) == [["node2"]]


VENDOR = "# /lib/systemd/system/docker.service\n[Service]\n"
OURS = f"# {layout.DOCKER_DROP_IN}\n[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --cluster-store=x\n"
THEIRS = "# /etc/systemd/system/docker.service.d/10-proxy.conf\n[Service]\n"


@pytest.mark.parametrize(
    ("unit", "command"),
    [
        ("", "/usr/bin/dockerd -H fd://"),
        (
            f"{VENDOR}ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n",
            "/usr/sbin/dockerd -H fd:// $DOCKER_OPTS",
        ),
        (
            f"{VENDOR}ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock\n",
            "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock",
        ),
        (f"{VENDOR}ExecStart=/usr/bin/dockerd\n", "/usr/bin/dockerd -H fd://"),
        (f"{VENDOR}ExecStart=/usr/bin/dockerd \\\n    -H fd:// \\\n    --debug\n", "/usr/bin/dockerd -H fd:// --debug"),
        (f"{VENDOR}ExecStart=/usr/bin/dockerd -H fd://\n{OURS}", "/usr/bin/dockerd -H fd://"),
        (
            f"{VENDOR}ExecStart=/usr/bin/dockerd -H fd://\n{THEIRS}ExecStart=\nExecStart=/opt/d -H fd://\n{OURS}",
            "/opt/d -H fd://",
        ),
        (
            f"{VENDOR}ExecStart=/usr/bin/dockerd -H fd://\n{OURS}{THEIRS}Environment=HTTP_PROXY=x\n",
            "/usr/bin/dockerd -H fd://",
        ),
        (
            f"{VENDOR}# ExecStart=/usr/bin/no\nExecStartPre=/bin/no\nExecStart=/bin/dockerd -H fd://\n",
            "/bin/dockerd -H fd://",
        ),
    ],
    ids=[
        "none",
        "Debian",
        "Docker CE",
        "no socket",
        "folded",
        "ours",
        "a drop-in of theirs",
        "one after ours",
        "others",
    ],
)
def test_the_vendors_command_is_kept(unit: str, command: str) -> None:
    assert vendor_command(Vendor(unit)) == command


def drop_in(situation: Situation, name: str) -> str:
    node = situation.cluster.node(name)
    files = (one for one in PHASES["docker"].resources(situation, node) if isinstance(one, File))
    return next(one for one in files if one.path == layout.DOCKER_DROP_IN).content.decode()


def test_dockerd_gets_mutual_tls_and_a_configuration_of_ours_beside_the_vendors_command(tmp_path: Path) -> None:
    text = drop_in(bare_situation(sample(tmp_path)), "node1").replace(" \\\n   ", "")
    (command,) = (line for line in text.splitlines() if line.startswith("ExecStart=/"))
    words = command.removeprefix("ExecStart=").split()
    assert words[:4] == ["/usr/sbin/dockerd", "-H", "fd://", "$DOCKER_OPTS"]
    assert {"--tlsverify", "tcp://192.0.2.1:2376", f"--config-file={layout.DOCKER_RUN_CONFIG}"} <= set(words)


@pytest.mark.parametrize(
    ("command", "options", "path"),
    [
        ("/usr/bin/dockerd -H fd://", "", "/etc/docker/daemon.json"),
        ("/usr/bin/dockerd --config-file /opt/d.json -H fd://", "", "/opt/d.json"),
        ("/usr/bin/dockerd --config-file=/opt/d.json", "", "/opt/d.json"),
        ("/usr/bin/dockerd -H fd:// $DOCKER_OPTS", '"--debug --config-file=/opt/d.json"', "/opt/d.json"),
        ("/usr/bin/dockerd -H fd://", '"--config-file=/opt/d.json"', "/etc/docker/daemon.json"),
    ],
    ids=["nowhere", "two words", "one word", "in the options", "in options that are not used"],
)
def test_the_users_configuration_is_read_where_the_vendors_command_has_it(
    command: str, options: str, path: str
) -> None:
    variables = f"# /etc/default/docker\nDOCKER_OPTS={options}\n"
    assert Vendor(f"{VENDOR}ExecStart={command}\n", variables).config == path


def test_only_a_member_wants_its_own_store(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    wants = [
        " etcd.service" in drop_in(situation, name).partition("Wants=")[2].splitlines()[0]
        for name in ("node1", "node3")
    ]
    assert wants == [True, False]


def with_networks(situation: Situation, *found: dict[str, object]) -> Situation:
    for name in situation.facts:
        situation = changed(situation, name, sees(*found))
    return situation


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([network("demo", "10.99.0.0/24")], []),
        ([], ["create network demo"]),
        ([network("demo", "10.97.0.0/24")], ["replace network demo"]),
        ([network("demo", "10.99.0.0/24", "local")], ["create network demo"]),
        ([network("more", "10.99.0.0/24")], ["create network demo"]),
        ([{**network("demo", ""), "IPAM": {"Config": None}}], ["replace network demo"]),
    ],
    ids=["right", "absent", "another subnet", "a bridge of that name", "another name", "no subnet"],
)
def test_a_network_that_changes_is_kept_anew_on_every_node(
    tmp_path: Path, found: list[dict[str, object]], expected: list[str]
) -> None:
    situation = with_networks(planned_sample(tmp_path), *found)
    keepers = [f"node{n}: create container overlay-keeper-demo-node{n}" for n in (1, 2, 3)]
    assert lines(make_plan(PLANE, situation)) == [
        *(f"cluster: {line}" for line in expected),
        *(keepers if expected else []),
    ]


def test_a_network_that_one_daemon_sees_is_there(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for name in ("node1", "node3"):
        situation = changed(situation, name, sees())
    assert changed_networks(situation) == ()


def test_only_the_network_that_changes_is_kept_anew(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    more = Network("more", IPv4Network("10.98.0.0/24"))
    situation = replace(situation, cluster=replace(situation.cluster, networks=(*situation.cluster.networks, more)))
    assert changed_networks(situation) == (more,)


def images(situation: Situation) -> list[Resource]:
    held = (r for phase in PLANE.phases for n in situation.cluster.nodes for r in phase.resources(situation, n))
    return [resource for resource in held if isinstance(resource, Image)]


def test_the_probes_image_comes_from_its_archive_or_from_nowhere(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    assert images(situation) == []
    probe = replace(situation.cluster.probe, archive=tmp_path / "busybox.tar")
    situation = replace(situation, cluster=replace(situation.cluster, probe=probe))
    assert images(situation) == [Image("busybox", tmp_path / "busybox.tar")] * 3


WINDOW = Window(lowest=((3, 4, 21), (3, 5, 5)), limit=(3, 6))


@pytest.mark.parametrize("version", ["3.4.21", "3.4.99", "3.5.5", "3.5.30"])
def test_a_version_inside(version: str) -> None:
    assert WINDOW.holds(version)


@pytest.mark.parametrize("version", ["3.3.27", "3.4.20", "3.5.4", "3.6.0", "3.10.1", "4.0.0", "2.3.8", ""])
def test_a_version_outside(version: str) -> None:
    assert not WINDOW.holds(version)
