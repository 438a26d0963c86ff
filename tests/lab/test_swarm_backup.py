"""A swarm is saved while it is at work, and set up again: on fresh hosts at other addresses, and on its own."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Fab, MakeLab
from invariants import await_so
from kills import kills
from observe import document, run

from provision import lab as labs
from provision.lab import Lab

START = "docker run -d --stop-signal KILL --restart always"
#: Networks are made and removed for as long as the backup takes.
LOAD = """
touch /run/load
(i=0; while [ -e /run/load ]; do i=$((i + 1)); docker network create -d overlay load$i && docker network rm load$i
done) </dev/null >/dev/null 2>&1 &
"""
LOSE = "systemctl stop docker.socket docker && rm -r /var/lib/docker/swarm && systemctl start docker"
#: How many backups are taken under load, and restored.
TIMES = 20
#: The steps at which a restore is killed.
STEPS = (
    *(f"{node}: phase aside" for node in ("node1", "node2")),
    "node1: setting up the saved swarm",
    "cluster: phase swarm",
    *(f"node2: phase {phase}" for phase in ("containers", "start", "mend", "keeper")),
    "node1: ending the restore",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        chosen = kills(STEPS)
        metafunc.parametrize("kill", chosen, ids=[f"{when} {step}" for step, when in chosen])


def with_nodes(lab: Lab, *names: str) -> Path:
    """An inventory with these nodes of the lab."""
    lines = lab.inventory.read_text(encoding="utf-8").splitlines(keepends=True)
    others = tuple(f"  {node.name}:" for node in lab.nodes if node.name not in names)
    path = lab.inventory.with_name(f"{'-'.join(names)}.yml")
    path.write_text("".join(line for line in lines if not line.startswith(others)), encoding="utf-8")
    return path


def in_use(lab: Lab, fab: Fab, inventory: Path) -> None:
    """Provision the first two nodes. They get a network of their user, and containers with what can be asked for."""
    document(fab(lab, "provision", "--json", inventory=inventory))
    run(lab, "node1", "docker network create -d overlay --attachable --subnet 10.77.0.0/24 --label a=b mine")
    run(lab, "node1", f"{START} --name web --network demo --network-alias www busybox sleep 1000000")
    run(lab, "node1", f"{START} --name fixed --network mine --ip 10.77.0.50 busybox sleep 1000000")
    run(lab, "node2", f"{START} --name two --network mine busybox sleep 1000000")
    run(lab, "node2", "docker network connect --alias second demo two")


def networks(lab: Lab, node: str) -> dict[str, Any]:
    """The networks of users, by name: ID, subnets, labels, options."""
    told = json.loads(run(lab, node, "docker network inspect demo mine"))
    return {one["Name"]: [one["Id"], one["IPAM"]["Config"], one["Labels"], one["Options"]] for one in told}


def containers(lab: Lab, node: str) -> list[str]:
    look = "docker inspect -f '{{.Id}} {{.Name}} {{.State.Running}}' $(docker ps -aq --no-trunc)"
    return sorted(line for line in run(lab, node, look).splitlines() if "overlay-keeper" not in line)


@contextmanager
def load(lab: Lab) -> Iterator[None]:
    run(lab, "node1", LOAD)
    try:
        yield
    finally:
        run(lab, "node1", "rm -f /run/load")


def restored(lab: Lab, fab: Fab, inventory: Path, file: Path, *lost: str) -> dict[str, Any]:
    began = time.monotonic()
    report = document(fab(lab, "restore", str(file), "--yes", "--json", *lost, inventory=inventory))
    print(f"restored in {time.monotonic() - began:.1f} s: {report['summary']}")
    return report


def reaches(lab: Lab, node: str, network: str, name: str, address: str = "") -> None:
    ping = run(lab, node, f"docker run --rm --network {network} busybox ping -c 1 -W 5 {name}")
    assert address in ping


def test_315_317_onto_fresh_hosts_at_other_addresses(make_lab: MakeLab, fab: Fab, tmp_path: Path) -> None:
    """Names, subnets and IDs are as before; addresses of containers that are gone are free, and work."""
    lab = make_lab(4, release="trixie")
    before, after = with_nodes(lab, "node1", "node2"), with_nodes(lab, "node3", "node4")
    in_use(lab, fab, before)
    there, file = networks(lab, "node1"), tmp_path / "backup.tar.gz"
    with load(lab):
        assert fab(lab, "backup", str(file), inventory=before).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(lab, "node1", "find / -xdev -newer /run/docker.pid -name '*.tar.gz' 2>/dev/null || true") == ""
    for node in ("node1", "node2"):
        labs.power_cut(lab.name, node)
    planned = document(fab(lab, "restore", str(file), "--plan", "--json", inventory=after))
    assert "node4 in the swarm" in {change["resource"] for change in planned["changes"]}
    assert run(lab, "node3", "docker info -f '{{.Swarm.LocalNodeState}}'").strip() == "inactive"
    restored(lab, fab, after, file)
    assert networks(lab, "node3") == networks(lab, "node4") == there
    assert document(fab(lab, "plan", "--json", inventory=after))["changes"] == []
    listed = run(lab, "node4", "docker node ls --format '{{.Hostname}} {{.Status}}'").splitlines()
    assert sorted(listed) == ["node3 Ready", "node4 Ready"]
    run(lab, "node4", f"{START} --name fixed --network mine --ip 10.77.0.50 busybox sleep 1000000")
    reaches(lab, "node3", "mine", "fixed", "10.77.0.50")
    # The first manager's log has its new address for good: both are back after each has restarted.
    for node in ("node3", "node4"):
        run(lab, node, "systemctl restart docker")
        await_so(
            lab, "node3", "[ $(docker node ls --format '{{.Status}} {{.ManagerStatus}}' | grep -c '^Ready .') = 2 ]", 90
        )
    for node in ("node3", "node4"):  # Docker may have tried to start it while there was no leader
        await_so(lab, node, f"docker ps --format '{{{{.Names}}}}' | grep -qx overlay-keeper-demo-{node}")
    assert document(fab(lab, "plan", "--json", inventory=after))["changes"] == []


@pytest.fixture(scope="module", params=["", "28"], ids=["26", "28"])
def lab(make_lab: MakeLab, request: pytest.FixtureRequest) -> Lab:
    return make_lab(release="trixie", docker=request.param)


@pytest.fixture
def used(lab: Lab, fab: Fab, tmp_path: Path) -> tuple[Lab, Path]:
    """The lab in use, and a backup of it. What a test before has left, if it failed, goes."""
    shutil.rmtree(lab.folder / ".overlay", ignore_errors=True)
    labs.renew(lab.name, say=lambda _: None)
    in_use(lab, fab, lab.inventory)
    file = tmp_path / "backup.tar.gz"
    assert fab(lab, "backup", str(file)).returncode == 0
    return lab, file


def lose_swarm(lab: Lab) -> None:
    """Lose what both hosts have of the swarm; the disks of their containers stay."""
    for node in lab.nodes:
        run(lab, node.name, LOSE)


def assert_back(lab: Lab, fab: Fab, there: tuple[dict[str, Any], list[list[str]]]) -> None:
    assert networks(lab, "node1") == there[0]
    assert [containers(lab, node.name) for node in lab.nodes] == there[1]
    reaches(lab, "node2", "demo", "www")
    reaches(lab, "node2", "mine", "fixed", "10.77.0.50")
    reaches(lab, "node1", "demo", "second")
    reaches(lab, "node1", "mine", "two")
    assert document(fab(lab, "plan", "--json"))["changes"] == []
    for node in lab.nodes:
        assert not {"restore", "containers.held"} & set(run(lab, node.name, "ls /var/lib/overlay-provision").split())


@pytest.mark.whole
def test_318_323_containers_whose_disks_have_survived_come_back(used: tuple[Lab, Path], fab: Fab) -> None:
    lab, file = used
    there = networks(lab, "node1"), [containers(lab, node.name) for node in lab.nodes]
    lose_swarm(lab)
    restored(lab, fab, lab.inventory, file)
    assert_back(lab, fab, there)


@pytest.mark.whole
def test_322_a_swarm_that_is_there_is_put_aside(used: tuple[Lab, Path], fab: Fab) -> None:
    """It is kept on its host, and named before."""
    lab, file = used
    there = networks(lab, "node1"), [containers(lab, node.name) for node in lab.nodes]
    lost = [word for node in lab.nodes for word in ("--lost", node.name)]
    document(fab(lab, "restore", str(file), "--yes", "--json", *lost))
    assert_back(lab, fab, there)
    for node in lab.nodes:
        run(lab, node.name, "test -d /var/lib/overlay-provision/former-swarms/before-restore.*/raft")


@pytest.mark.whole
def test_333_a_swarm_that_has_no_networks_but_a_secret_is_not_restored_over(used: tuple[Lab, Path], fab: Fab) -> None:
    lab, file = used
    for node in lab.nodes:
        run(lab, node.name, "docker rm -f $(docker ps -aq)")
    run(
        lab,
        "node1",
        "docker network rm $(docker network ls -qf driver=overlay -f scope=swarm | grep -v ingress) || true",
    )
    run(lab, "node1", "yes | docker network rm ingress && echo value | docker secret create mine -")
    (first, *_) = document(fab(lab, "restore", str(file), "--yes", "--json"), 3)["problems"]
    assert (first["where"], "secrets mine" in first["what"]) == ("node1", True)


@pytest.mark.whole
def test_334_a_host_that_is_lost_has_no_part_in_a_restore_and_joins_anew(used: tuple[Lab, Path], fab: Fab) -> None:
    """It returns with its part of the former swarm, which is not let in."""
    lab, file = used
    there = networks(lab, "node1"), [containers(lab, node.name) for node in lab.nodes]
    labs.power_cut(lab.name, "node2")
    run(lab, "node1", LOSE)
    silent = document(fab(lab, "restore", str(file), "--yes", "--json"), 3)["problems"]
    assert "--lost node2" in silent[-1]["advice"]
    restored(lab, fab, lab.inventory, file, "--lost", "node2")
    assert networks(lab, "node1") == there[0]
    assert containers(lab, "node1") == there[1][0]
    labs.power_on(lab.name, "node2")
    document(fab(lab, "provision", "--yes", "--json"))
    assert_back(lab, fab, there)


@pytest.mark.whole
def test_319_killed_at_any_step_the_next_run_ends_it(used: tuple[Lab, Path], fab: Fab, kill: tuple[str, str]) -> None:
    lab, file = used
    there = networks(lab, "node1"), [containers(lab, node.name) for node in lab.nodes]
    if "aside" not in kill[0]:
        lose_swarm(lab)
    lost = [word for node in lab.nodes for word in ("--lost", node.name)]
    assert fab(lab, "restore", str(file), "--yes", *lost, at=(*kill, "die")).returncode == -signal.SIGKILL
    restored(lab, fab, lab.inventory, file, *lost)
    assert_back(lab, fab, there)


@pytest.mark.whole
def test_324_power_fails_half_way(used: tuple[Lab, Path], fab: Fab) -> None:
    lab, file = used
    there = networks(lab, "node1"), [containers(lab, node.name) for node in lab.nodes]
    lose_swarm(lab)
    step = ("node1: setting up the saved swarm", "after", "die")
    assert fab(lab, "restore", str(file), "--yes", at=step).returncode == -signal.SIGKILL
    for node in lab.nodes:
        labs.power_cut(lab.name, node.name)
    labs.power_on(lab.name, *(node.name for node in lab.nodes))
    restored(lab, fab, lab.inventory, file)
    assert_back(lab, fab, there)


@pytest.mark.whole
def test_338_killed_while_the_manager_gets_its_address(make_lab: MakeLab, fab: Fab, tmp_path: Path) -> None:
    """Then Docker takes a snapshot after each entry of its log, and its user wants one after 5000."""
    lab = make_lab(4, release="trixie")
    before, after = with_nodes(lab, "node1", "node2"), with_nodes(lab, "node3", "node4")
    document(fab(lab, "provision", "--json", inventory=before))
    run(lab, "node1", "docker swarm update --snapshot-interval 5000")
    file, looks = tmp_path / "backup.tar.gz", tmp_path / "looks"
    assert fab(lab, "backup", str(file), inventory=before).returncode == 0
    for node in ("node1", "node2"):
        labs.power_cut(lab.name, node)
    kills_at_third = f"echo >>{looks}; [ $(wc -l <{looks}) -lt 3 ] || kill -9 $PPID"
    step = ("node3: looking for snapshots", "before", kills_at_third)
    killed = fab(lab, "restore", str(file), "--yes", inventory=after, at=step)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    interval = "docker info -f '{{.Swarm.Cluster.Spec.Raft.SnapshotInterval}}'"
    assert run(lab, "node3", interval).strip() == "1"
    restored(lab, fab, after, file)
    assert run(lab, "node3", interval).strip() == "5000"
    assert document(fab(lab, "plan", "--json", inventory=after))["changes"] == []


@pytest.mark.whole
def test_325_every_backup_under_load_is_restored(make_lab: MakeLab, fab: Fab, tmp_path: Path) -> None:
    lab = make_lab(4, release="trixie")
    before, after = with_nodes(lab, "node1", "node2"), with_nodes(lab, "node3", "node4")
    in_use(lab, fab, before)
    there, files = networks(lab, "node1"), [tmp_path / f"{number}.tar.gz" for number in range(TIMES)]
    with load(lab):
        for file in files:
            assert fab(lab, "backup", str(file), inventory=before).returncode == 0
    for node in ("node1", "node2"):
        labs.power_cut(lab.name, node)
    for file in files:
        restored(lab, fab, after, file)
        assert networks(lab, "node3") == there
        for node in ("node3", "node4"):
            run(lab, node, LOSE)
