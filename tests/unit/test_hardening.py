"""What dockerd is told for safety's sake, the modes of what is ours, and etcd's unit as systemd judges it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import fields, replace
from pathlib import Path

import pytest
from cluster_sample import VENDOR_UNIT, bare_situation, changed, lines, planned_sample, with_values
from pki_sample import sample

from provision import layout
from provision.core.situation import Situation
from provision.docker.hardening import defaults
from provision.engine import make_plan
from provision.inventory.model import Hardening
from provision.planes.etcd import paths
from provision.planes.etcd.plane import PLANE
from provision.resources import File, Folder, Resource

EVERY = Hardening(**{field.name: True for field in fields(Hardening)})
KEYS = {"no-new-privileges", "log-opts", "default-ulimits", "icc", "userland-proxy"}

#: The most that `systemd-analyze security` may say of etcd's unit: 0 is nothing exposed, 10 all.
MOST_EXPOSED = 2.0


def keys(hardening: Hardening, flags: str = "") -> set[str]:
    return set(re.findall(r'(?m)^\S+ "(\S+)": ', defaults(hardening, flags).decode()))


def test_each_can_be_switched() -> None:
    assert keys(EVERY) == KEYS
    nothing = Hardening(**{field.name: False for field in fields(Hardening)})
    assert keys(nothing) == set()
    assert all(len(keys(replace(nothing, **{field.name: True}))) == 1 for field in fields(Hardening))


def test_what_users_rely_on_stays_unless_they_ask() -> None:
    assert keys(Hardening()) == {"no-new-privileges", "log-opts"}


@pytest.mark.parametrize(
    ("flags", "decided"),
    [
        ("--icc=true", {"icc"}),
        ("--log-driver syslog", {"log-opts"}),
        ("--log-opt max-size=1m", {"log-opts"}),
        ("--log-level debug", set()),
        ("--default-ulimit nofile=9", {"default-ulimits"}),
        ("--userland-proxy=false --no-new-privileges", {"userland-proxy", "no-new-privileges"}),
    ],
)
def test_what_the_command_line_says_is_left_to_it(flags: str, decided: set[str]) -> None:
    assert KEYS - keys(EVERY, flags) == decided


def held(situation: Situation, node: str) -> list[Resource]:
    return [one for phase in PLANE.phases for one in phase.resources(situation, situation.cluster.node(node))]


@pytest.mark.parametrize(
    "values",
    [
        {"docker_unit": VENDOR_UNIT.replace("$DOCKER_OPTS", "--no-new-privileges=false")},
        {"docker_options": '# /etc/default/docker\nDOCKER_OPTS="--no-new-privileges=false"\n'},
    ],
    ids=["the unit", "/etc/default/docker"],
)
def test_the_vendors_command_line_is_looked_at(tmp_path: Path, values: dict[str, str]) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node1", with_values(**values))
    texts = [
        (one.content or b"").decode()
        for node in ("node1", "node2")
        for one in held(situation, node)
        if isinstance(one, File) and one.path == layout.DOCKER_HARDENING
    ]
    assert ["no-new-privileges" in text for text in texts] == [False, True]


def test_switching_one_is_a_change_with_a_restart(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    cluster = replace(situation.cluster, hardening=Hardening(rotate_logs=False))
    plan = make_plan(PLANE, replace(situation, cluster=cluster))
    assert lines(plan.of("node1", "docker")) == [
        "node1: update file /etc/docker/overlay/hardening",
        "node1: restart unit docker.service",
    ]
    assert len(plan.restarts) == len(cluster.nodes)


def test_nothing_of_ours_can_be_written_by_others_and_no_key_or_data_read(tmp_path: Path) -> None:
    """The modes that the CIS Docker benchmark asks for (chapter 3), and none wider elsewhere."""
    situation = bare_situation(replace(sample(tmp_path), firewall=True))
    for one in held(situation, "node1"):
        if not isinstance(one, File | Folder):
            continue
        assert not one.mode & 0o022, one.path
        if isinstance(one, File) and one.path.endswith(".key"):
            assert one.mode == 0o400, one.path
        elif isinstance(one, File) and one.path.endswith(".crt"):
            assert one.mode == 0o444, one.path
        elif isinstance(one, File) and one.path not in (paths.BEFORE_START, paths.STORE_PROGRAM, layout.MEND_PROGRAM):
            assert one.mode == 0o644, one.path
    modes = {one.path: (one.mode, one.owner) for one in held(situation, "node1") if isinstance(one, Folder)}
    assert modes[paths.DATA] == (0o700, "etcd:etcd")
    assert modes[paths.DOCKER_PKI] == modes[layout.STATE] == (0o700, "root:root")
    assert modes[layout.DOCKER] == modes[layout.DOCKER_DROP_IN_FOLDER] == (0o755, "root:root")


def exposure(folder: Path, unit: str) -> float:
    path = folder / "etcd.service"
    path.write_text(unit)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"exposure level for etcd.service: ([0-9.]+)", told)
    assert found, told
    return float(found[1])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_finds_little_exposed_in_etcds_unit(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    files = {one.path: one.content or b"" for one in held(situation, "node1") if isinstance(one, File)}
    unit = files[paths.ETCD_UNIT_FILE].decode().replace("/usr/local/bin/etcd\n", "/bin/true\n")
    assert exposure(tmp_path, unit) <= MOST_EXPOSED
    confined = unit.index("# etcd needs its data folder")
    assert exposure(tmp_path, unit[:confined]) > MOST_EXPOSED, "it tells one from the other"
