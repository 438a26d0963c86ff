"""Faults of hosts in swarm mode: as in test_faults.py, the users' containers find each other afterwards, without help.

Each shape has hosts of its own. M is a manager, W a worker. The leader is a manager; the other is the last host that is
not the leader: in the shape M+W the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from conftest import Back, Fab, MakeLab
from faults import killed
from invariants import BACK, await_packets, await_so, holds, leader
from observe import document, run

from provision import inventory
from provision import lab as labs
from provision.lab import Lab

pytestmark = pytest.mark.whole

THREE = "3M Docker 26"
ONE_MANAGER = "M+W Docker 26"
#: Of each shape the hosts, the managers among them, and the Docker if it is not the one of Debian 13.
SHAPES = {"2M Docker 26": (2, 2, ""), ONE_MANAGER: (2, 1, ""), THREE: (3, 3, ""), "2M Docker 28": (2, 2, "28")}
AGREE = """
docker network rm agreed >/dev/null 2>&1
docker network create --driver overlay agreed >/dev/null 2>&1 && docker network rm agreed >/dev/null 2>&1 &&
    [ "$(docker node ls --format '{{.Status}}' | sort -u)" = Ready ]
"""
one_host = pytest.mark.parametrize("who", ["leader", "other"])


@pytest.fixture(scope="module", params=SHAPES)
def cluster(make_lab: MakeLab, fab: Fab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A provisioned swarm of this shape, in use; it ends when the tests go on to the next shape."""
    hosts, managers, docker = SHAPES[request.param]
    lab = make_lab(hosts, release="trixie", docker=docker)
    for worker in lab.nodes[managers:]:
        entry = f"{worker.name}: {{address: {worker.address}"
        lab.inventory.write_text(lab.inventory.read_text().replace(entry, f"{entry}, member: false"))
    document(fab(lab, "provision", "--json"))
    for node in lab.nodes:
        start = "docker run -d --restart always --stop-signal KILL"
        run(lab, node.name, f"{start} --name user-{node.name} --network demo busybox sleep 1000000")
        run(lab, node.name, f"{start} --name plain-{node.name} busybox sleep 1000000")
    yield lab
    labs.down(lab.name)


@pytest.fixture
def kept(cluster: Lab) -> Callable[[], None]:
    """Return a function that waits until each manager can change the swarm, and sees every node as ready."""

    def call() -> None:
        for manager in inventory.load(cluster.inventory).members:
            await_so(cluster, manager.name, AGREE)

    return call


@pytest.fixture
def limit(request: pytest.FixtureRequest) -> float:
    """With one manager, two minutes: a worker dials the manager every 60 s, and copies what it missed every 30 s.

    The source of both figures is libnetwork's networkdb, `rejoinClusterInterval` and `PushPullInterval`.
    """
    return 120 if request.node.callspec.params["cluster"] == ONE_MANAGER else BACK


@pytest.fixture(autouse=True)
def sound(cluster: Lab, kept: Callable[[], None]) -> None:
    """Begin with a swarm in which everything works, even if it did not recover from the fault before."""
    for node in cluster.nodes:
        labs.power_on(cluster.name, node.name)
        labs.heal_link(cluster.name, node.name)
        run(cluster, node.name, "systemctl reset-failed docker")  # systemd allows three starts in a minute
    try:
        await_packets(cluster)
        kept()
    except AssertionError:
        for node in cluster.nodes:
            run(cluster, node.name, "systemctl restart docker")
        await_packets(cluster)
        kept()


def chosen(lab: Lab, who: str) -> tuple[str, ...]:
    """The names of the hosts that a fault befalls: `leader`, `other`, `both` of these, or `all`."""
    first = leader(lab)
    *_, other = (node.name for node in lab.nodes if node.name != first)
    every = tuple(node.name for node in lab.nodes)
    return {"leader": (first,), "other": (other,), "both": (first, other), "all": every}[who]


def off_for(lab: Lab, names: tuple[str, ...], seconds: float) -> float:
    """Cut the power of hosts for that long. That is the fault itself. Return the time at which it ends."""
    for name in names:
        labs.power_cut(lab.name, name)
    time.sleep(seconds)
    began = time.monotonic()
    labs.power_on(lab.name, *names, wait=False)
    return began


def cut_for(lab: Lab, name: str, seconds: float) -> None:
    """Cut a host's link for that long, and until no packet crosses."""
    user = next(node.name for node in lab.nodes if node.name != name)
    labs.cut_link(lab.name, name)
    await_so(lab, name, f"! docker exec user-{name} ping -c 1 -W 1 user-{user} >/dev/null 2>&1")
    time.sleep(seconds)
    labs.heal_link(lab.name, name)


@pytest.mark.parametrize("who", ["leader", "other", "all"])
def test_119_swarm_mode_power_cut(cluster: Lab, back: Back, who: str) -> None:
    back(off_for(cluster, chosen(cluster, who), 0))


@pytest.mark.parametrize("cluster", [THREE], indirect=True)
def test_152_swarm_mode_power_cut_of_two_of_three_managers(cluster: Lab, back: Back) -> None:
    back(off_for(cluster, chosen(cluster, "both"), 0))


@one_host
def test_149_swarm_mode_off_for_thirty_seconds(cluster: Lab, back: Back, who: str) -> None:
    back(off_for(cluster, chosen(cluster, who), 30))


@one_host
def test_150_swarm_mode_all_off_and_one_on_ten_seconds_after_the_others(cluster: Lab, back: Back, who: str) -> None:
    (late,) = chosen(cluster, who)
    for node in cluster.nodes:
        labs.power_cut(cluster.name, node.name)
    others = (node.name for node in cluster.nodes if node.name != late)
    labs.power_on(cluster.name, *others, wait=False)
    back(off_for(cluster, (late,), 10))


@one_host
def test_119_swarm_mode_dockerd_killed(cluster: Lab, back: Back, who: str) -> None:
    killed(cluster, *chosen(cluster, who), "dockerd")
    back()


@one_host
def test_151_swarm_mode_dockerd_restarted(cluster: Lab, back: Back, who: str) -> None:
    run(cluster, *chosen(cluster, who), "systemctl restart docker")
    back()


@one_host
def test_119_swarm_mode_link_cut_and_healed(cluster: Lab, back: Back, who: str) -> None:
    cut_for(cluster, *chosen(cluster, who), 0)
    back()


@one_host
def test_153_swarm_mode_link_cut_for_a_minute(cluster: Lab, back: Back, who: str) -> None:
    cut_for(cluster, *chosen(cluster, who), 60)
    back()


def test_155_swarm_mode_another_has_the_address_that_a_container_asks_for(cluster: Lab, back: Back) -> None:
    """With Docker 28, a container asks for the address of an attempt to start that failed. Here a user chose it."""
    here, *_, there = (node.name for node in cluster.nodes)
    options = "-d --restart always --stop-signal KILL --network demo --ip 10.99.0.200 busybox sleep 1000000"
    run(cluster, there, f"docker run --name asking {options} && docker stop asking")
    await_so(cluster, here, f"docker rm -f another; docker run --name another {options}")
    try:
        assert not holds(cluster, there, "docker start asking")
        began = time.monotonic()
        await_so(cluster, there, f"docker exec asking ping -c 1 -W 1 user-{here}")
        back(began)
    finally:
        run(cluster, there, "docker rm -f asking")
        run(cluster, here, "docker rm -f another")


def test_after_all_of_it_nothing_is_to_be_changed(cluster: Lab, fab: Fab) -> None:
    assert document(fab(cluster, "provision", "--json"))["changes"] == []
    document(fab(cluster, "verify", "--only", "swarm/", "--json"))
