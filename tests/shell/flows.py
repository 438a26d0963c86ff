"""Flows between hosts in network namespaces: a cluster of them, measured, with some flows shut, on a busy core."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from namespaces import ADDRESS, Hosts

from provision.core.reach import Cell, Matrix
from provision.facts import Facts
from provision.inventory.model import SSH, Cluster, Etcd, Node, Probe
from provision.network import port_matrix
from provision.planes.etcd.ports import PORTS

RUN = "0123abcd"
ONE_CORE = ("taskset", "-c", "0")


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
