"""The main job on two hosts: provision bare hosts, provision again, correct what was changed by hand, reset."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Fab
from dropped import assert_kept_while_used
from observe import document, everything, files, manifest, run, start

from provision.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, list[str]]:
    return {node.name: manifest(lab, node.name) for node in lab.nodes}


@pytest.fixture(scope="module")
def made(lab: Lab, fab: Fab, before: dict[str, list[str]]) -> dict[str, Any]:
    """The report of the first run."""
    assert before
    planned = document(fab(lab, "plan", "--json", "--exit-code"), 7)
    made = document(fab(lab, "provision", "--json"))
    assert made["changes"] == planned["changes"]
    return made


@pytest.fixture(scope="module")
def cluster(lab: Lab, made: dict[str, Any]) -> Lab:
    """The module's lab, provisioned as planned."""
    assert made
    return lab


def test_a_first_run_proves_with_the_keepers_that_it_has_started(cluster: Lab, made: dict[str, Any]) -> None:
    check = "overlay/containers-reach-each-other"
    told = {one["where"]: one["evidence"] for one in made["outcomes"] if one["check"] == check}
    address = "docker inspect -f '{{.NetworkSettings.Networks.demo.IPAddress}}' overlay-keeper-demo-"
    probes = "docker events --since 1h --until 0s --filter label=overlay-provision.run --filter event=create"
    for source, target in (("node1", "node2"), ("node2", "node1")):
        keeper = run(cluster, target, address + target).strip()
        assert told[f"{source} → {target}"].startswith(f"demo: {keeper} answers in ")
        assert run(cluster, source, probes) == ""


def test_a_second_run_changes_nothing(cluster: Lab, fab: Fab) -> None:
    seen = everything(cluster)
    report = document(fab(cluster, "provision", "--json"))
    assert report["changes"] == []
    assert {outcome["status"] for outcome in report["outcomes"]} == {"passed"}
    assert everything(cluster) == seen
    assert document(fab(cluster, "plan", "--exit-code", "--json"))["changes"] == []


def test_a_ping_crosses_hosts_by_name_both_ways(cluster: Lab, fab: Fab) -> None:
    outcomes = document(fab(cluster, "verify", "--json"))["outcomes"]
    crossed = {
        o["where"]
        for o in outcomes
        if o["check"] == "overlay/containers-reach-each-other" and "by name" in o["evidence"]
    }
    assert crossed == {"node1 → node2", "node2 → node1"}


def test_nothing_of_the_proof_is_left_nor_of_a_killed_one_and_what_is_not_ours_stays(cluster: Lab, fab: Fab) -> None:
    for node in cluster.nodes:
        run(cluster, node.name, "docker run -d --name left --label overlay-provision.run=dead busybox sleep 600")
        run(cluster, node.name, "docker run -d --name theirs --label run=dead busybox sleep 600")
    document(fab(cluster, "verify", "--json"))
    for node in cluster.nodes:
        assert run(cluster, node.name, "docker ps -aq -f label=overlay-provision.run") == ""
        assert run(cluster, node.name, "docker rm -f theirs") == "theirs\n"


def test_status_tells_members_leader_and_versions(cluster: Lab, fab: Fab) -> None:
    report = document(fab(cluster, "status", "--store", "--json"))
    assert sorted(member["role"] for member in report["members"]) == ["follower", "leader"]
    assert {member["etcd"] for member in report["members"]} == {"3.4.23"}
    assert {node["docker"] for node in report["nodes"]} == {"20.10.24"}
    assert any("/docker/network/v1.0/network/" in row["key"] for row in report["store"])


def test_169_a_proxy_of_the_controller_is_not_before_a_tunnel(cluster: Lab) -> None:
    nobody = "http://127.0.0.1:9"  # the port refuses connections
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "grpc_proxy", "ALL_PROXY"), nobody)
    command = [str(Path(sys.executable).with_name("fab")), "-i", str(cluster.inventory), "status", "--store", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | proxies, capture_output=True, text=True, timeout=300, check=False
    )
    assert document(done)["exit_code"] == 0


def test_what_was_changed_by_hand_is_mended_as_planned_and_nothing_else_moves(cluster: Lab, fab: Fab) -> None:
    edit = "echo '# by hand' >>{} && systemctl daemon-reload && systemctl restart {}"
    run(cluster, "node1", edit.format("/etc/systemd/system/etcd.service", "etcd"))
    run(cluster, "node2", edit.format("/etc/systemd/system/docker.service.d/50-overlay.conf", "docker"))
    run(cluster, "node1", "cp /etc/ssl/certs/ca-certificates.crt /etc/docker/overlay/server.crt")
    run(cluster, "node2", "cd /usr/local/lib/etcd/3.4.23 && cp etcdctl other && printf x >>other && mv other etcdctl")
    for node in cluster.nodes:
        run(cluster, node.name, "docker rm -f $(docker ps -aq -f label=overlay-keeper)")
    run(cluster, "node1", "docker network rm demo")
    seen = everything(cluster)

    planned = document(fab(cluster, "plan", "--json"))["changes"]
    verified = document(fab(cluster, "verify", "--only", "etcd/one-leader", "--json"), 5)["outcomes"]
    assert [outcome["check"] for outcome in verified if outcome["status"] == "failed"] == ["plan/nothing-pending"]
    made = document(fab(cluster, "provision", "--json"))["changes"]
    assert made == planned
    told = {(change["where"], change["action"], change["resource"]) for change in planned}
    assert told == {
        ("node1", "update", "file /etc/systemd/system/etcd.service"),
        ("node1", "restart", "unit etcd.service"),
        ("node2", "update", "release etcd 3.4.23"),
        # The daemon started with the right certificate and has not read this one: no restart is needed.
        ("node1", "update", "file /etc/docker/overlay/server.crt"),
        ("node2", "update", "file /etc/systemd/system/docker.service.d/50-overlay.conf"),
        ("node2", "restart", "unit docker.service"),
        ("cluster", "create", "network demo"),
        ("node1", "create", "container overlay-keeper-demo-node1"),
        ("node2", "create", "container overlay-keeper-demo-node2"),
    }
    moved = {
        (node, path)
        for node, (paths, _) in everything(cluster).items()
        for path in paths
        if paths[path].split()[:3] != seen[node][0].get(path, "").split()[:3]
    }
    release = "/usr/local/lib/etcd/3.4.23"
    assert moved == {
        ("node1", "/etc/systemd/system/etcd.service"),
        ("node1", "/etc/docker/overlay/server.crt"),
        ("node2", "/etc/systemd/system/docker.service.d/50-overlay.conf"),
        *(("node2", path) for path in (release, f"{release}/etcd", f"{release}/etcdctl")),
    }
    restarted = {
        (node.name, unit)
        for node in cluster.nodes
        for unit in ("etcd", "docker")
        if start(cluster, node.name, unit) != seen[node.name][1][unit]
    }
    assert restarted == {("node1", "etcd"), ("node2", "docker")}
    assert document(fab(cluster, "plan", "--json"))["changes"] == []


def test_keys_are_secret_and_no_authority_key_is_on_a_node(cluster: Lab) -> None:
    for node in cluster.nodes:
        modes = {
            line.split()[0]
            for line in run(
                cluster, node.name, "stat -c '%a %n' /etc/etcd/pki/*.key /etc/docker/overlay/*.key"
            ).splitlines()
        }
        assert modes == {"400"}
        for authority in ("etcd-peer", "etcd-client", "docker"):
            secret = (cluster.folder / ".overlay" / cluster.name / authority / "ca.key").read_text().splitlines()[1]
            assert (
                run(cluster, node.name, f"grep -rslF -- '{secret}' /etc /var/lib /run /usr/local /tmp /root || true")
                == ""
            )


def test_reset_without_a_yes_and_without_a_terminal_changes_nothing(cluster: Lab, fab: Fab) -> None:
    seen = {node.name: files(cluster, node.name) for node in cluster.nodes}
    document(fab(cluster, "reset", "--json"), 3)
    assert {node.name: files(cluster, node.name) for node in cluster.nodes} == seen


def test_182_183_a_network_that_is_dropped_is_kept_while_a_container_is_on_it(cluster: Lab, fab: Fab) -> None:
    assert_kept_while_used(cluster, fab)


def test_reset_names_a_users_container_and_refuses(cluster: Lab, fab: Fab) -> None:
    run(cluster, "node2", "docker run -d --name theirs --network demo busybox sleep 600")
    report = document(fab(cluster, "reset", "--yes", "--json"), 3)
    assert "container theirs is on network demo" in json.dumps(report["problems"])
    document(fab(cluster, "reset", "--delete-user-data", "--json"), 3)
    assert run(cluster, "node2", "docker ps -q -f name=theirs")
    run(cluster, "node2", "docker rm -f theirs")


def test_reset_puts_every_node_back_to_what_it_was(cluster: Lab, fab: Fab, before: dict[str, list[str]]) -> None:
    document(fab(cluster, "reset", "--yes", "--json"))
    assert {node.name: manifest(cluster, node.name) for node in cluster.nodes} == before
