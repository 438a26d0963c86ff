"""The port matrix with its real scripts, in network namespaces: behind a slow switch, with blocked flows."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from namespaces import ADDRESS, Hosts, hosts, slow

from provision.core.reach import Cell, Matrix
from provision.facts import Facts
from provision.inventory.model import SSH, Cluster, Etcd, Node, Probe
from provision.network import port_matrix
from provision.planes.etcd.ports import PORTS

RUN = "0123abcd"
ONE_CORE = ("taskset", "-c", "0")

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def cluster(count: int, folder: Path) -> Cluster:
    ssh = SSH("", "root", 22, None, Path("known_hosts"), "strict", None)
    nodes = tuple(Node(f"node{number}", ADDRESS.format(number), True, ssh) for number in range(1, count + 1))
    return Cluster(
        "demo", nodes, Etcd("etcd.tar.gz", None), "etcd", (), Probe("busybox", None), folder / "inventory.yml"
    )


def measured(on: Hosts, of: Cluster) -> Matrix:
    return port_matrix.measure(of, PORTS, {node.name: Facts() for node in of.nodes}, on, RUN)  # type: ignore[arg-type]


@contextmanager
def busy() -> Iterator[None]:
    """Keep the first core busy."""
    loops = [subprocess.Popen([*ONE_CORE, "sh", "-c", "while :; do :; done"]) for _ in range(2)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


#: Flows that are blocked in these tests.
SHUT = {Cell("node1", "node2", 2379, "tcp"), Cell("node2", "node1", 4789, "udp")}


def shut(on: Hosts) -> None:
    """Let the targets drop these flows, before their own addresses are looked up."""
    for cell in SHUT:
        source = on.hosts[cell.source].node.address
        drop = f"ip rule add pref 50 from {source} ipproto {cell.protocol} dport {cell.port} blackhole"
        on.must(cell.target, f"ip rule add pref 100 lookup local && ip rule del pref 0 && {drop}")


@pytest.mark.parametrize("blocking", [False, True], ids=["open", "shut"])
def test_53_what_is_blocked_is_found_and_nothing_else(tmp_path: Path, blocking: bool) -> None:
    three = cluster(3, tmp_path)
    with hosts(three, tmp_path) as there:
        if blocking:
            shut(there)
        matrix = measured(there, three)
    assert set(matrix.blocked) == (SHUT if blocking else set())
    assert matrix.vanished == {}
    assert len(matrix.sizes) == 6


@pytest.mark.parametrize("blocking", [False, True], ids=["open", "shut"])
def test_113_behind_a_slow_switch_what_is_open_is_open_and_what_is_shut_is_shut(tmp_path: Path, blocking: bool) -> None:
    four = cluster(4, tmp_path)
    with hosts(four, tmp_path) as there, slow(there, 50):
        if blocking:
            shut(there)
        assert set(measured(there, four).blocked) == (SHUT if blocking else set())
