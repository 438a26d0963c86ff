"""A backup taken while everything runs, and the cluster set up from it again: on other hosts, and on the same ones."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT, Fab, MakeLab
from kills import kills
from observe import document, run
from test_migrate import CONTAINERS, SAME

from provision import lab as labs
from provision.lab import Lab
from provision.node import library
from provision.planes.etcd.node import functions

#: Commands for keys at a node's own member.
KEYS = f"{library('facts')}{functions('facts')}"
#: The steps at which a restore is killed: on hosts that have the disks of their Docker, and no data of the store.
STEPS = (
    *(f"{node}: phase aside" for node in ("node1", "node2")),
    *(f"{node}: phase etcd" for node in ("node1", "node2")),
    "cluster: phase keys",
    *(f"{node}: sending /var/lib/overlay-provision/restore" for node in ("node1", "node2")),
    *(f"{node}: phase {phase}" for phase in ("docker", "containers", "start") for node in ("node1", "node2")),
    "node1: ending the restore",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kill" in metafunc.fixturenames:
        chosen = kills(STEPS)
        metafunc.parametrize("kill", chosen, ids=[f"{when} {step}" for step, when in chosen])


@pytest.fixture(scope="module")
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(4)


def inventory(lab: Lab, numbers: str) -> Path:
    """An inventory of node1 and node2 at the addresses of these hosts."""
    lines = "".join(
        f"  node{one}: {{address: {lab.nodes[int(at) - 1].address}}}\n" for one, at in zip("12", numbers, strict=True)
    )
    before, _, rest = lab.inventory.read_text().partition("nodes:\n")
    after = "".join(line for line in rest.splitlines(keepends=True) if not line.startswith("  node"))
    path = lab.folder / f"at{numbers}.yml"
    path.write_text(f"{before}nodes:\n{lines}{after}")
    return path


@pytest.fixture
def old(lab: Lab, fab: Fab) -> Path:
    """The inventory of two hosts as new, provisioned, with containers."""
    shutil.rmtree(lab.folder / ".overlay", ignore_errors=True)
    labs.renew(lab.name, say=lambda _: None)
    path = inventory(lab, "12")
    document(fab(lab, "provision", "--json", inventory=path))
    for node, script in CONTAINERS.items():
        run(lab, node, f"set -e\nrun='docker run -d --stop-signal KILL'\n{script}")
    return path


def networks(lab: Lab, node: str) -> str:
    """Each shared network with its ID, subnets, options and labels."""
    told = "{{.Name}} {{.Id}} {{range .IPAM.Config}}{{.Subnet}} {{end}}{{.Options}} {{.Labels}}"
    return run(lab, node, f"docker network inspect -f '{told}' $(docker network ls -qf driver=overlay) | sort")


def containers(lab: Lab, *nodes: str) -> dict[str, list[str]]:
    """What of each container has to be the same afterwards."""
    look = f"docker inspect -f '{SAME}' $(docker ps -aq --no-trunc) | grep -v overlay-keeper | sort"
    return {node: run(lab, node, look).splitlines() for node in nodes or ("node1", "node2")}


def dockerds(lab: Lab) -> list[str]:
    return [run(lab, node, "systemctl show -p MainPID docker etcd") for node in ("node1", "node2")]


def without_data(lab: Lab, *nodes: str) -> None:
    """The data of the store is gone on these hosts, or both; Docker runs on."""
    for node in nodes or ("node1", "node2"):
        run(lab, node, "systemctl stop --no-block etcd; systemctl kill -s KILL etcd; rm -rf /var/lib/etcd/data")


def is_back(lab: Lab, fab: Fab, path: Path, known: str, before: dict[str, list[str]]) -> None:
    """The same networks and containers as before, found by name from the other host, and nothing is left to do."""
    assert [networks(lab, node) for node in ("node1", "node2")] == [known, known]
    assert containers(lab) == before
    for node, name, network in (("node1", "of-mine", "mine"), ("node2", "www", "demo"), ("node2", "second", "demo")):
        run(lab, node, f"docker run --rm --network {network} busybox ping -c 1 -W 5 {name}")
    assert "10.99.0.50" in run(lab, "node2", "docker exec two ping -c 1 fixed")
    assert document(fab(lab, "plan", "--json", inventory=path))["changes"] == []
    for node in ("node1", "node2"):
        assert "restore" not in run(lab, node, "ls /var/lib/overlay-provision").split()


def fresh(lab: Lab, *nodes: str) -> None:
    """The hosts are new machines, and the controller knows nothing of them."""
    labs.renew(lab.name, *nodes, say=lambda _: None)
    (lab.folder / "known_hosts").unlink(missing_ok=True)


def followed(
    page: str, number: int, inventory: Path, folder: Path, commands: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run one of the blocks of commands of a page, in a folder with `cluster.tar.gz`. `commands`: stand-ins."""
    block = re.findall(r"(?s)```sh\n(.*?)```", (ROOT / "docs" / page).read_text())[number]
    text = block.replace("cluster.tar.gz", f"{folder}/cluster.tar.gz")
    done = subprocess.run(
        ("bash", "-e", "-c", f'fab() {{ (cd {ROOT} && command fab -i {inventory} "$@"); }}\n{text}'),
        cwd=folder,
        env={**os.environ, "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with stand-ins for age and gpg, which encrypt nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {"age": 'case $1 in -d) cat "$4" ;; *) cat ;; esac', "gpg": 'cat >"$7"'}
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def test_301_302_303_304_311_all_thrown_away_and_restored_on_fresh_hosts_with_other_addresses(
    lab: Lab, fab: Fab, old: Path, tmp_path: Path, commands: Path
) -> None:
    """The same names, subnets and IDs; addresses of containers are free; nothing stopped for the backup."""
    file, began, known = tmp_path / "cluster.tar.gz", dockerds(lab), networks(lab, "node1")
    said = followed("backups.md", 0, old, tmp_path, commands).stdout
    assert b"root on every node" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    followed("backups.md", 1, old, tmp_path, commands)
    for name in ("cluster.tar.gz.age", "cluster.tar.gz.gpg"):
        subprocess.run(("tar", "-tzf", tmp_path / name), capture_output=True, check=True)
    followed("backups.md", 2, old, tmp_path, commands)
    # A cluster that lives is not restored over; a damaged file is refused before any host is asked.
    refused = document(fab(lab, "restore", str(file), "--yes", "--json", inventory=old), 3)["problems"]
    assert [one["where"] for one in refused] == ["node1", "node2"]
    assert "add --lost node1" in refused[0]["advice"]
    (tmp_path / "cut.tar.gz").write_bytes(file.read_bytes()[:-100])
    (cut,) = document(fab(lab, "restore", str(tmp_path / "cut.tar.gz"), "--json", inventory=old), 3)["problems"]
    assert "its end is missing" in cut["what"]
    assert dockerds(lab) == began
    # Everything is lost: the hosts, and the controller's folder.
    for node in ("node1", "node2"):
        labs.power_cut(lab.name, node)
    shutil.rmtree(lab.folder / ".overlay")
    path = inventory(lab, "34")
    planned = document(fab(lab, "restore", str(file), "--plan", "--json", inventory=path))
    assert {change["phase"] for change in planned["changes"]} >= {"etcd", "keys", "docker", "keeper"}
    assert fab(lab, "restore", str(file), inventory=path).returncode == 3  # nobody says yes
    followed("all-hosts-lost.md", 1, path, tmp_path, commands)
    assert (tmp_path / "inventory.yml").read_bytes() == old.read_bytes()
    (tmp_path / "key.txt").touch()
    followed("all-hosts-lost.md", 2, path, tmp_path, commands)
    assert not (lab.folder / ".overlay").exists()
    followed("all-hosts-lost.md", 0, path, tmp_path, commands)
    assert [networks(lab, node) for node in ("node3", "node4")] == [known, known]
    start = "docker run -d --stop-signal KILL"
    run(lab, "node3", f"{start} --name fixed --network demo --ip 10.99.0.50 busybox sleep 1000000")
    run(lab, "node4", "docker run --rm --network demo busybox ping -c 1 -W 5 fixed")
    run(lab, "node4", f"{start} --name low --network mine --ip 10.77.0.3 busybox sleep 1000000")
    run(lab, "node3", "docker run --rm --network mine busybox ping -c 1 -W 5 low")
    run(lab, "node3", "docker network create -d overlay more && docker run --rm --network more busybox true")
    assert document(fab(lab, "plan", "--json", inventory=path))["changes"] == []
    labs.power_on(lab.name, "node1", "node2")


@pytest.mark.whole
@pytest.mark.parametrize("rebooted", [False, True])
def test_305_306_the_same_hosts_without_the_data_of_the_store(
    lab: Lab, fab: Fab, old: Path, tmp_path: Path, rebooted: bool
) -> None:
    """The containers whose disks have survived are attached again, and run. After a boot, etcd began anew, empty."""
    file, known, before = tmp_path / "cluster.tar.gz", networks(lab, "node1"), containers(lab)
    document(fab(lab, "backup", str(file), "--json", inventory=old))
    without_data(lab)
    if rebooted:
        for node in ("node1", "node2"):
            labs.power_cut(lab.name, node)
        labs.power_on(lab.name, "node1", "node2")
        # It is on none of the networks, and has no restart policy: it ended with the boot.
        before["node2"] = [one.replace("/plain true", "/plain false") for one in before["node2"]]
    document(fab(lab, "restore", str(file), "--yes", "--json", inventory=old))
    is_back(lab, fab, old, known, before)


@pytest.mark.whole
def test_307_twenty_backups_under_load_restore(lab: Lab, fab: Fab, old: Path, tmp_path: Path) -> None:
    """Networks and containers are made and removed meanwhile. What was there all the time is in each backup."""
    known = networks(lab, "node1").splitlines()
    load = """
        while [ ! -e /run/enough ]; do
            docker network create -d overlay load$N >/dev/null && docker run --rm --network load$N busybox true
            docker network rm load$N >/dev/null
        done"""
    busy = [
        threading.Thread(
            target=labs.execute, args=(lab.name, node, ["sh", "-c", f"N={number};{load}"]), kwargs={"timeout": 600}
        )
        for number, node in enumerate(("node1", "node1", "node2", "node2"))
    ]
    for one in busy:
        one.start()
    files = [tmp_path / f"{number}.tar.gz" for number in range(20)]
    try:
        for file in files:
            document(fab(lab, "backup", str(file), "--json", inventory=old))
    finally:
        for node in ("node1", "node2"):
            run(lab, node, "touch /run/enough")
        for one in busy:
            one.join()
    restored = []
    for file in files:
        shutil.rmtree(lab.folder / ".overlay")
        fresh(lab, "node1", "node2")
        done = document(fab(lab, "restore", str(file), "--yes", "--json", inventory=old))
        there = networks(lab, "node1")
        assert set(known) <= set(there.splitlines())
        run(lab, "node1", "docker run -d --name fixed --network demo --ip 10.99.0.50 busybox sleep 1000000")
        run(lab, "node2", "docker run --rm --network demo busybox ping -c 1 -W 5 fixed")
        run(
            lab,
            "node2",
            "for n in 0 1 2 3; do docker network rm load$n 2>/dev/null; docker network create -d overlay load$n; done",
        )
        assert document(fab(lab, "plan", "--json", inventory=old))["changes"] == []
        restored.append(done["summary"])
    assert len(restored) == 20


@pytest.mark.whole
def test_308_a_restore_that_is_killed_is_ended_by_the_next_one(
    lab: Lab, fab: Fab, old: Path, tmp_path: Path, kill: tuple[str, str]
) -> None:
    """Meanwhile status names it, and what would change something is refused."""
    file, known, before = tmp_path / "cluster.tar.gz", networks(lab, "node1"), containers(lab)
    document(fab(lab, "backup", str(file), "--json", inventory=old))
    without_data(lab)
    assert fab(lab, "restore", str(file), "--yes", inventory=old, at=(*kill, "die")).returncode == -signal.SIGKILL
    for verb in ("provision", "verify", "plan"):
        refused = fab(lab, verb, inventory=old)
        assert refused.returncode == 3
        assert "fab restore FILE" in refused.stdout + refused.stderr
    assert "fab restore FILE" in str(document(fab(lab, "status", "--json", inventory=old), 5)["problems"])
    document(fab(lab, "restore", str(file), "--yes", "--json", inventory=old))
    is_back(lab, fab, old, known, before)


@pytest.mark.whole
def test_309_a_living_cluster_is_given_up_for_an_earlier_backup(lab: Lab, fab: Fab, old: Path, tmp_path: Path) -> None:
    """Each node has to be named. Its data is put aside, whole; what was made since is gone."""
    file, known, before = tmp_path / "cluster.tar.gz", networks(lab, "node1"), containers(lab)
    document(fab(lab, "backup", str(file), "--json", inventory=old))
    run(lab, "node1", "docker network create -d overlay since")
    lost = [word for node in ("node1", "node2") for word in ("--lost", node)]
    assert fab(lab, "restore", str(file), "--yes", *lost[:2], inventory=old).returncode == 3
    document(fab(lab, "restore", str(file), "--yes", *lost, "--json", inventory=old))
    is_back(lab, fab, old, known, before)
    for node in ("node1", "node2"):
        assert "removed-" in run(lab, node, "ls /var/lib/etcd")


@pytest.mark.whole
def test_333_348_a_store_that_lives_without_networks_or_does_not_list_them_is_not_restored_over(
    lab: Lab, fab: Fab, old: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cluster.tar.gz"
    document(fab(lab, "backup", str(file), "--json", inventory=old))
    for node in ("node1", "node2"):
        run(lab, node, "docker rm -f $(docker ps -aq)")
    run(lab, "node1", "docker network rm $(docker network ls -qf driver=overlay)")
    slow = 'case "$*" in *v1.0/network*) exec sleep 9 ;; esac; exec /usr/local/bin/etcdctl "$@"'
    run(lab, "node1", f"cd /usr/local/sbin; echo '#!/bin/sh\n{slow}' >etcdctl; chmod 755 etcdctl")
    (problem,) = document(fab(lab, "restore", str(file), "--yes", "--json", inventory=old), 3)["problems"]
    assert problem["where"] == "node1"
    assert "with a quorum: networks that it does not list" in problem["what"]
    run(lab, "node1", "rm /usr/local/sbin/etcdctl")
    run(lab, "node2", f"{KEYS}own_keys set /mine/deep value && own_member put other value")
    for word in ("--plan", "--yes"):
        problems = document(fab(lab, "restore", str(file), word, "--json", inventory=old), 3)["problems"]
        assert [one["where"] for one in problems] == ["node1", "node2"]
        assert "keys /mine, other" in problems[0]["what"]
    lost = [word for node in ("node1", "node2") for word in ("--lost", node)]
    document(fab(lab, "restore", str(file), "--yes", "--json", *lost, inventory=old))
    assert "kvs" not in run(lab, "node1", f"{KEYS}own_member get other")


@pytest.mark.whole
def test_334_a_host_that_is_lost_has_no_part_in_a_restore_and_joins_anew(
    lab: Lab, fab: Fab, old: Path, tmp_path: Path
) -> None:
    """What its containers had is free meanwhile. It returns with its data of before, which is not let in."""
    file, known, before = tmp_path / "cluster.tar.gz", networks(lab, "node1"), containers(lab)
    document(fab(lab, "backup", str(file), "--json", inventory=old))
    labs.power_cut(lab.name, "node2")
    without_data(lab, "node1")
    silent = document(fab(lab, "restore", str(file), "--yes", "--json", inventory=old), 3)["problems"]
    assert "--lost node2" in silent[-1]["advice"]
    words = ("restore", str(file), "--lost", "node2", "--json")
    shown = document(fab(lab, *words, "--plan", inventory=old))
    assert {change["where"] for change in shown["changes"]} == {"node1", "cluster"}
    document(fab(lab, *words, "--yes", inventory=old))
    assert networks(lab, "node1") == known
    assert containers(lab, "node1") == {"node1": before["node1"]}
    run(lab, "node1", "docker run --rm --name low --network mine --ip 10.77.0.3 busybox true")
    labs.power_on(lab.name, "node2")
    joined = document(fab(lab, "provision", "--yes", "--json", inventory=old))
    gone = {"where": "node2", "phase": "etcd", "resource": "data of a removed member", "action": "remove"}
    assert any(gone.items() <= change.items() for change in joined["changes"])
    # It is on none of the networks, and has no restart policy: it ended with the boot.
    before["node2"] = [one.replace("/plain true", "/plain false") for one in before["node2"]]
    is_back(lab, fab, old, known, before)
    assert document(fab(lab, "verify", "--json", inventory=old))["exit_code"] == 0


@pytest.mark.whole
def test_310_a_node_that_does_not_answer_is_missing_in_the_backup_and_named(lab: Lab, fab: Fab, tmp_path: Path) -> None:
    """The store has a majority without it."""
    shutil.rmtree(lab.folder / ".overlay", ignore_errors=True)
    labs.renew(lab.name, say=lambda _: None)
    document(fab(lab, "provision", "--json"))
    labs.power_cut(lab.name, "node4")
    file = tmp_path / "cluster.tar.gz"
    done = document(fab(lab, "backup", str(file), "--json"))
    labs.power_on(lab.name, "node4")
    assert "node4" in done["summary"]
    assert [one["where"] for one in done["warnings"]] == ["node4"]
    assert file.stat().st_size > 1000
