"""Faults of hosts: daemons killed and frozen, power and links cut. Afterwards packets cross again, without help.

Numbered as in the record, RELIABILITY.md, to which `script/faults` adds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from conftest import Back, Fab
from faults import killed
from invariants import OWN_MEMBER, assert_settled, await_packets, await_so
from observe import document, run

from provision import lab as labs
from provision.lab import Lab

NAMES = ("node1", "node2")


@pytest.fixture(params=["live-restore off", "live-restore on"])
def restored(cluster: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Run the test with the user's `live-restore` off and on."""
    setting = "true" if request.param.endswith("on") else "false"
    for name in NAMES:
        run(
            cluster, name, f"""echo '{{"live-restore": {setting}}}' >/etc/docker/daemon.json; systemctl reload docker"""
        )
    await_packets(cluster)
    yield cluster
    for name in NAMES:
        run(cluster, name, "rm -f /etc/docker/daemon.json; systemctl reload docker")


def test_62_etcd_killed(cluster: Lab, back: Back) -> None:
    killed(cluster, "node1", "etcd")
    back()


def test_63_dockerd_killed_and_who_is_to_run_unless_stopped(cluster: Lab, back: Back) -> None:
    """Docker treats the container as stopped by its user. A container that its user did stop stays stopped."""
    start = "docker run -d --restart unless-stopped --stop-signal KILL --network demo --name"
    for name in ("running", "stopped"):
        run(cluster, "node1", f"{start} {name} busybox sleep 1000000")
    run(cluster, "node1", "docker stop stopped")
    try:
        killed(cluster, "node1", "dockerd")
        await_so(cluster, "node1", "docker exec running true 2>/dev/null")
        names = run(cluster, "node1", "docker ps --format '{{.Names}}'").split()
        assert "stopped" not in names
    finally:
        run(cluster, "node1", "docker rm -f running stopped")
    back()


def test_63_dockerd_killed(restored: Lab, back: Back) -> None:
    killed(restored, "node1", "dockerd")
    back()


@pytest.mark.parametrize(
    "off", [pytest.param(("node1",), marks=pytest.mark.whole), ("node2",), NAMES], ids=["one", "the other", "both"]
)
def test_64_65_power_cut(restored: Lab, back: Back, off: tuple[str, ...]) -> None:
    for name in off:
        labs.power_cut(restored.name, name)
    began = time.monotonic()
    for name in off:
        labs.power_on(restored.name, name)
    back(began)


def test_66_link_cut_and_healed(cluster: Lab, back: Back) -> None:
    labs.cut_link(cluster.name, "node2")
    await_so(cluster, "node1", "! docker exec user-node1 ping -c 1 -W 1 user-node2 >/dev/null 2>&1")
    labs.heal_link(cluster.name, "node2")
    back()


def test_68_etcd_frozen(cluster: Lab, back: Back) -> None:
    """etcd is frozen for thirty seconds. That is the fault itself, not a wait for a condition."""
    run(cluster, "node1", "kill -STOP $(pidof etcd) && sleep 30; kill -CONT $(pidof etcd)")
    back()


def test_60_disk_full_under_etcd_and_freed(cluster: Lab, back: Back) -> None:
    """Large values are written until the member ends. Its disk has room for some."""
    before = run(cluster, "node1", "pidof etcd").strip()
    run(cluster, "node1", "dd if=/dev/zero of=/var/full bs=1M 2>/dev/null || true")
    write = f"head -c 1000000 /dev/zero >/run/large; {OWN_MEMBER} put large </run/large >/dev/null 2>&1"
    await_so(cluster, "node1", f'{write}; [ "$(pidof etcd)" != {before} ]')
    run(cluster, "node1", "rm /var/full")
    await_so(cluster, "node1", f"{OWN_MEMBER} del large >/dev/null 2>&1")
    back()


def test_61_the_port_of_its_gossip_taken_when_dockerd_wanted_it_and_freed(cluster: Lab, back: Back) -> None:
    """dockerd never tries again by itself: overlay-join restarts it."""
    run(cluster, "node1", "systemctl stop docker.socket docker")
    run(cluster, "node1", "systemd-run -q --unit taker --socket-property=ListenStream=7946 sleep 1000")
    run(cluster, "node1", "systemctl start docker")
    await_so(cluster, "node1", "journalctl -u docker -n 200 -o cat | grep 'initializing serf instance failed'")
    run(cluster, "node1", "systemctl stop taker.socket; systemctl stop taker.service 2>/dev/null || true")
    back()


def test_70_file_system_of_the_store_read_only_and_writable_again(cluster: Lab, back: Back) -> None:
    run(cluster, "node1", "mount --bind /var/lib/etcd /var/lib/etcd && mount -o remount,bind,ro /var/lib/etcd")
    restarts = "systemctl show -p NRestarts --value etcd"
    run(cluster, "node1", "kill -9 $(pidof etcd)")
    await_so(cluster, "node1", f'[ "$({restarts})" -ge 7 ]')  # more than systemd allows in ten seconds by default
    run(cluster, "node1", "umount /var/lib/etcd")
    back()


def test_89_of_two_that_were_off_one_returns_and_runs_its_plain_containers(cluster: Lab, fab: Fab, back: Back) -> None:
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
    restored: Lab, back: Back
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
    document(fab(cluster, "verify", "--only", "^(etcd|security)/", "--json"))
