"""What machines do: daemons killed, hosts cut off power. Afterwards packets cross, and nobody did anything."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from conftest import Fab
from observe import document, run

from provision import lab as labs
from provision.lab import Lab

NAMES = ("node1", "node2")
#: Seconds, as promised: from boot to packets crossing.
BACK = 90


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    """Provisioned; on each node a user's container on the overlay and a plain one, both to be up always."""
    assert document(fab(lab, "provision", "--json"))["exit_code"] == 0
    for name in NAMES:
        start = "docker run -d --restart always --stop-signal KILL"
        run(lab, name, f"{start} --name user-{name} --network demo busybox sleep 1000000")
        run(lab, name, f"{start} --name plain-{name} busybox sleep 1000000")
    return lab


@pytest.fixture(params=["live-restore off", "live-restore on"])
def restored(cluster: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """With the user's `live-restore` off and on."""
    setting = "true" if request.param.endswith("on") else "false"
    for name in NAMES:
        run(
            cluster, name, f"""echo '{{"live-restore": {setting}}}' >/etc/docker/daemon.json; systemctl reload docker"""
        )
    await_packets(cluster)
    yield cluster
    for name in NAMES:
        run(cluster, name, "rm -f /etc/docker/daemon.json; systemctl reload docker")


def holds(lab: Lab, name: str, script: str) -> bool:
    return labs.execute(lab.name, name, ["sh", "-c", script], timeout=BACK).returncode == 0


def await_so(lab: Lab, name: str, script: str) -> None:
    """Wait until a script succeeds on a node, no longer than is promised."""
    deadline = time.monotonic() + BACK
    while not holds(lab, name, script):
        assert time.monotonic() < deadline, f"{name}: not within {BACK} s: {script}"
        time.sleep(0.2)


def await_packets(lab: Lab) -> None:
    """Wait until the users' containers reach each other by name, both ways, and nothing is down."""
    for here, there in (NAMES, NAMES[::-1]):
        await_so(lab, here, f"docker exec user-{here} ping -c 1 -W 1 user-{there} >/dev/null 2>&1")
    for name in NAMES:
        await_so(lab, name, 'docker info >/dev/null 2>&1 && [ -z "$(docker ps -aq -f status=exited)" ]')


def killed(lab: Lab, name: str, program: str) -> None:
    """SIGKILL it; return when another process is there."""
    before = run(lab, name, f"pidof {program}").strip()
    run(lab, name, f"kill -9 {before}")
    await_so(lab, name, f'now=$(pidof {program}) && [ "$now" != {before} ]')


def test_62_etcd_killed(cluster: Lab) -> None:
    killed(cluster, "node1", "etcd")
    await_packets(cluster)


def test_63_dockerd_killed(restored: Lab) -> None:
    killed(restored, "node1", "dockerd")
    await_packets(restored)


@pytest.mark.parametrize("off", [("node1",), ("node2",), NAMES], ids=["64 of one", "64 of the other", "65 of both"])
def test_64_65_power_cut(restored: Lab, off: tuple[str, ...]) -> None:
    for name in off:
        labs.power_cut(restored.name, name)
    for name in off:
        labs.power_on(restored.name, name)
    await_packets(restored)


def test_89_of_two_that_were_off_one_returns_and_runs_its_plain_containers(cluster: Lab, fab: Fab) -> None:
    for name in NAMES:
        labs.power_cut(cluster.name, name)
    labs.power_on(cluster.name, "node1")
    await_so(cluster, "node1", "docker exec plain-node1 true 2>/dev/null")
    assert run(cluster, "node1", "docker run --rm busybox echo runs").strip() == "runs"
    status = document(fab(cluster, "status", "--json"), 5)
    assert [(row["node"], row["health"]) for row in status["members"]] == [
        ("node1", "no quorum"),
        ("node2", "no answer"),
    ]
    assert [row["daemon"] for row in status["nodes"]] == ["without the store", "not reached"]
    waiting = {row["what"]: row["for what"] for row in status["waiting"]}
    assert waiting["dockerd"] == "for the store: of 2 members 2 are needed, no answer from node2"
    assert set(waiting) == {"dockerd", "container user-node1", "container overlay-keeper-demo-node1"}
    labs.power_on(cluster.name, "node2")
    await_packets(cluster)


def test_90_a_dockerd_restarted_without_a_quorum_comes_up_and_joins_when_there_is_one(restored: Lab) -> None:
    run(restored, "node2", "systemctl stop etcd")
    run(restored, "node1", "systemctl restart docker")
    await_so(restored, "node1", "docker exec plain-node1 true 2>/dev/null")
    run(restored, "node2", "systemctl start etcd")
    for name in NAMES:
        await_so(restored, name, "[ -n \"$(docker info -f '{{.ClusterStore}}')\" ]")
    await_packets(restored)


def test_after_all_of_it_nothing_is_to_be_changed(cluster: Lab, fab: Fab) -> None:
    assert fab(cluster, "plan", "--exit-code").returncode == 0
    assert fab(cluster, "verify", "--only", "etcd").returncode == 0
