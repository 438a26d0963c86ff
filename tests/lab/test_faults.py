"""What machines do: daemons killed and frozen, power and links cut. Afterwards packets cross, and nobody did anything.

Numbered as in the record, RELIABILITY.md, to which `script/faults` adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from conftest import Fab
from invariants import Writer, assert_nothing_lost, assert_settled, await_packets, await_so
from observe import document, run

from provision import lab as labs
from provision.lab import Lab

NAMES = ("node1", "node2")
Watched = Callable[..., None]


@pytest.fixture(scope="module")
def cluster(lab: Lab, fab: Fab) -> Lab:
    """Provisioned; on each node a user's container on the overlay and a plain one, both to be up always."""
    assert document(fab(lab, "provision", "--json"))["exit_code"] == 0
    for name in NAMES:
        start = "docker run -d --restart always --stop-signal KILL"
        run(lab, name, f"{start} --name user-{name} --network demo busybox sleep 1000000")
        run(lab, name, f"{start} --name plain-{name} busybox sleep 1000000")
    return lab


@pytest.fixture(scope="module")
def writer(cluster: Lab) -> Writer:
    """Whoever writes to the store through all of the module's faults."""
    return Writer(cluster)


@pytest.fixture
def back(cluster: Lab, writer: Writer, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """Keys are written throughout. Called when a fault ends, or with when it did: waits until all is back, stops the
    writer, asserts that nothing is lost, and records how long it took."""

    earlier = len(writer.acknowledged)
    with ExitStack() as work:
        work.enter_context(writer.at_work())

        def call(began: float | None = None) -> None:
            began = began or time.monotonic()
            await_packets(cluster)
            took = time.monotonic() - began
            work.close()
            assert len(writer.acknowledged) > earlier
            assert_nothing_lost(cluster, writer)
            request.node.user_properties.append(("recovered", round(took, 1)))

        yield call


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


def killed(lab: Lab, name: str, program: str) -> None:
    """SIGKILL it; return when another process is there."""
    before = run(lab, name, f"pidof {program}").strip()
    run(lab, name, f"kill -9 {before}")
    await_so(lab, name, f'now=$(pidof {program}) && [ "$now" != {before} ]')


def test_62_etcd_killed(cluster: Lab, back: Watched) -> None:
    killed(cluster, "node1", "etcd")
    back()


def test_63_dockerd_killed(restored: Lab, back: Watched) -> None:
    killed(restored, "node1", "dockerd")
    back()


@pytest.mark.parametrize("off", [("node1",), ("node2",), NAMES], ids=["of one", "of the other", "of both"])
def test_64_65_power_cut(restored: Lab, back: Watched, off: tuple[str, ...]) -> None:
    for name in off:
        labs.power_cut(restored.name, name)
    began = time.monotonic()
    for name in off:
        labs.power_on(restored.name, name)
    back(began)


def test_66_link_cut_and_healed(cluster: Lab, back: Watched) -> None:
    labs.cut_link(cluster.name, "node2")
    await_so(cluster, "node1", "! docker exec user-node1 ping -c 1 -W 1 user-node2 >/dev/null 2>&1")
    labs.heal_link(cluster.name, "node2")
    back()


def test_68_etcd_frozen(cluster: Lab, back: Watched) -> None:
    """For thirty seconds: the fault itself, nothing that is waited for."""
    run(cluster, "node1", "kill -STOP $(pidof etcd) && sleep 30; kill -CONT $(pidof etcd)")
    back()


def test_89_of_two_that_were_off_one_returns_and_runs_its_plain_containers(
    cluster: Lab, fab: Fab, back: Watched
) -> None:
    for name in NAMES:
        labs.power_cut(cluster.name, name)
    labs.power_on(cluster.name, "node1")
    await_so(cluster, "node1", "docker exec plain-node1 true 2>/dev/null")
    assert run(cluster, "node1", "docker run --rm busybox echo runs").strip() == "runs"
    status = document(fab(cluster, "status", "--json"), 5)
    assert [row["health"] for row in status["members"]] == ["no quorum", "no answer"]
    assert [row["daemon"] for row in status["nodes"]] == ["without the store", "not reached"]
    waiting = {row["what"]: row["for what"] for row in status["waiting"]}
    assert waiting["dockerd"] == "for the store: of 2 members 2 are needed, no answer from node2"
    assert set(waiting) == {"dockerd", "container user-node1", "container overlay-keeper-demo-node1"}
    began = time.monotonic()
    labs.power_on(cluster.name, "node2")
    back(began)


def test_90_a_dockerd_restarted_without_a_quorum_comes_up_and_joins_when_there_is_one(
    restored: Lab, back: Watched
) -> None:
    run(restored, "node2", "systemctl stop etcd")
    run(restored, "node1", "systemctl restart docker")
    await_so(restored, "node1", "docker exec plain-node1 true 2>/dev/null")
    run(restored, "node2", "systemctl start etcd")
    for name in NAMES:
        await_so(restored, name, "[ -n \"$(docker info -f '{{.ClusterStore}}')\" ]")
    back()


def test_after_all_of_it_nothing_is_to_be_changed(cluster: Lab, fab: Fab) -> None:
    assert_settled(cluster, fab)
    assert fab(cluster, "verify", "--only", "etcd").returncode == 0
