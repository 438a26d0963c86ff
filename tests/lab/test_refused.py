"""What is refused: one message with everything that is wrong, its exit code, and nothing changed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Fab
from observe import document, manifest, run

from provision import lab as labs
from provision.lab import Lab

pytestmark = pytest.mark.lab


def told(result: subprocess.CompletedProcess[str], code: int) -> str:
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    return result.stdout + result.stderr


def test_obstacles_of_all_nodes_are_told_at_once_and_nothing_is_written(bare_lab: Lab, fab: Fab) -> None:
    run(bare_lab, "node1", "systemd-run -q --unit squatter --socket-property=ListenStream=2379 cat")
    run(bare_lab, "node2", "echo '{\"hosts\": []}' >/etc/docker/daemon.json; hostname node1")
    before = {node.name: manifest(bare_lab, node.name) for node in bare_lab.nodes}
    for verb in ("preflight", "provision"):
        words = told(fab(bare_lab, verb), 3)
        assert "port 2379/tcp is taken by systemd (process 1)" in words
        assert "/etc/docker/daemon.json sets hosts" in words
        assert "the hostname node1 is that of node1 too" in words
    assert {node.name: manifest(bare_lab, node.name) for node in bare_lab.nodes} == before
    assert not (bare_lab.folder / ".overlay" / bare_lab.name).exists()


def test_a_step_that_fails_is_named_with_its_journal_and_the_next_run_goes_on(bare_lab: Lab, fab: Fab) -> None:
    folder = "/run/systemd/system/etcd.service.d"
    run(
        bare_lab,
        "node2",
        f"mkdir -p {folder} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >{folder}/bad.conf",
    )
    words = told(fab(bare_lab, "provision"), 4)
    assert "node2, phase etcd" in words
    assert "start unit etcd.service failed" in words
    assert "run provision again" in words
    # Without a quorum of the store, dockerd runs plain containers.
    for node in bare_lab.nodes:
        assert run(bare_lab, node.name, "docker run --rm --network none busybox echo runs").strip() == "runs"
    run(bare_lab, "node2", f"rm -r {folder}")
    assert document(fab(bare_lab, "provision", "--json"))["exit_code"] == 0


@pytest.mark.whole
def test_331_a_unit_that_restarts_with_a_drop_in_that_is_gone_gets_its_own_files(bare_lab: Lab, fab: Fab) -> None:
    assert document(fab(bare_lab, "provision", "--json"))["exit_code"] == 0
    folder = "/run/systemd/system/etcd.service.d"
    run(
        bare_lab,
        "node2",
        f"""set -e
        mkdir -p {folder}
        printf "[Service]\\nExecStart=\\nExecStart=/bin/sh -c 'sleep 15; exit 1'\\n" >{folder}/bad.conf
        systemctl daemon-reload && systemctl restart etcd
        systemctl kill -s KILL etcd
        until systemctl is-active -q etcd && [ "$(systemctl show -p NRestarts --value etcd)" = 1 ]; do sleep 0.1; done
        rm -r {folder}""",
    )
    report = document(fab(bare_lab, "provision", "--json"))
    assert report["exit_code"] == 0
    assert [one["action"] for one in report["changes"] if one["resource"] == "unit etcd.service"] == ["load"]


def here(script: str, *values: object) -> str:
    """Return a command for this machine's shell that runs a line of Python with access to the labs."""
    return shlex.join([sys.executable, "-c", f"from provision import lab; {script.format(*map(repr, values))}"])


def test_59_a_disk_that_is_full_when_the_release_comes_is_named_and_nothing_half_done_stays(
    bare_lab: Lab, fab: Fab
) -> None:
    fill = here("lab.execute({}, 'node1', ['dd', 'if=/dev/zero', 'of=/var/full', 'bs=1M'])", bare_lab.name)
    at = ("node1: sending /var/lib/overlay-provision/etcd.tar.gz", "before", fill)
    words = told(fab(bare_lab, "provision", at=at), 4)
    assert "node1" in words
    assert "No space left on device" in words
    run(bare_lab, "node1", "rm /var/full")
    assert run(bare_lab, "node1", "ls -A /var/lib/overlay-provision") == ""
    document(fab(bare_lab, "provision", "--json"))


def test_61_a_port_taken_after_preflight_is_named_with_its_journal(bare_lab: Lab, fab: Fab) -> None:
    take = "['systemd-run', '-q', '--unit=taker', '--socket-property=ListenStream=2379', 'sleep', '1000']"
    at = ("node1: phase etcd", "before", here("lab.execute({}, 'node1', " + take + ")", bare_lab.name))
    words = told(fab(bare_lab, "provision", at=at), 4)
    assert "node1, phase etcd" in words
    assert "address already in use" in words
    run(bare_lab, "node1", "systemctl stop taker.socket taker.service")
    document(fab(bare_lab, "provision", "--json"))


def test_31_43_nodes_that_are_off_and_a_wrong_release_hide_nothing_else(
    bare_lab: Lab, fab: Fab, tmp_path: Path
) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(bare_lab.inventory.read_text().replace("etcd:\n", f"etcd:\n  sha256: {'ab' * 32}\n"))
    labs.power_cut(bare_lab.name, "node2")
    run(bare_lab, "node1", "systemd-run -q --unit taker --socket-property=ListenStream=2380 cat")
    try:
        report = document(fab(bare_lab, "preflight", "--json", inventory=inventory), 3)
    finally:
        labs.power_on(bare_lab.name, "node2")
        run(bare_lab, "node1", "systemctl stop taker.socket")
    failed = {(o["check"], o["where"]): o["evidence"] for o in report["outcomes"] if o["status"] == "failed"}
    assert set(failed) == {("release", "controller"), ("reachable", "node2"), ("ports", "node1")}
    assert "has sha256" in failed["release", "controller"]
    assert {o["where"] for o in report["outcomes"]} == {"controller", "node1", "node2"}


def test_hosts_that_are_off_are_all_named(bare_lab: Lab, fab: Fab) -> None:
    for node in bare_lab.nodes:
        labs.power_cut(bare_lab.name, node.name)
    words = told(fab(bare_lab, "plan"), 3)
    assert "node1: " in words
    assert "node2: " in words
    for node in bare_lab.nodes:
        labs.power_on(bare_lab.name, node.name)


@pytest.mark.parametrize("verb", ["preflight", "plan", "provision", "verify", "status", "reset", "trust"])
def test_a_bad_inventory_is_refused_by_every_verb_with_its_lines(lab: Lab, fab: Fab, tmp_path: Path, verb: str) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(
        "version: 1\ncluster: demo\nnodes:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.1}\nbogus: 1\n"
    )
    words = told(fab(lab, verb, inventory=inventory), 2)
    assert f"{inventory}:5" in words
    assert f"{inventory}:6" in words
