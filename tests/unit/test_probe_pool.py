"""The addresses of probes: suites run in parallel, and each suite has a pool of its own on the same network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pki_sample import sample

from provision.checks import probe_pool
from provision.checks.probe_pool import ProbePool, moving_addresses
from provision.checks.probes import Probe
from provision.checks.proof import Proof
from provision.checks.temporary import spare
from provision.core.plane import Coordinator
from provision.inventory.model import Node

SUBNET = IPv4Network("10.99.0.0/24")


def test_two_suites_ask_for_no_address_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In swarm mode a container that asks for another's address starts after 20 s, or fails without saying why."""
    asked: list[str | None] = []

    def start(_: Proof, node: Node, _network: str, name: str, address: str | None = None) -> Probe:
        asked.append(address)
        return Probe(node, cast(Any, None), name, address or "")

    monkeypatch.setattr(probe_pool, "start", start)
    cluster = sample(tmp_path)
    proof = Proof(cluster, cast(Coordinator, None), "run")
    monkeypatch.setattr(probe_pool, "remove", lambda *_: True)
    pools = [ProbePool(replace(proof, shared={}), cluster.networks[0]) for _ in range(2)]
    for pool in pools:
        vars(pool)["subnet"] = SUBNET
        pool.probes(2)
    assert len(asked) == len(set(asked)) == 2 * 2 * len(cluster.nodes)
    assert not set(asked) & {None, *moving_addresses(cluster, SUBNET)}
    for pool in pools:
        pool.close()
    assert proof.claimed == {}


def test_a_spare_subnet_overlaps_no_network_and_no_route_of_any_node(tmp_path: Path) -> None:
    """A recovery makes its first network in one, too."""
    nodes = sample(tmp_path).nodes
    networks = [{"IPAM": {"Config": [{"Subnet": "10.254.0.0/16"}]}}]
    routes = "unicast default via 192.0.2.1 dev eth0\n172.31.0.0/17 dev eth1\n"
    remote = SimpleNamespace(run=lambda *_, **__: SimpleNamespace(stdout=routes))
    coordinator: Any = SimpleNamespace(
        docker=lambda _: SimpleNamespace(api=SimpleNamespace(networks=lambda: networks)),
        remotes={node.name: remote for node in nodes},
    )
    assert spare(coordinator, nodes).subnet_of(IPv4Network("172.31.128.0/17"))
