"""The endpoints of every network, of anybody's: no address twice, and every host sends to where it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.checks.proof import Proof
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node
from provision.planes.etcd import paths
from provision.planes.etcd.coordinator import opened
from provision.waiting import wait_for

#: Where Docker keeps them in the store.
ENDPOINTS = "/docker/network/v1.0/endpoint"
#: Seconds in which word of one that comes or goes is everywhere.
PATIENCE = 5
#: Seconds in which planes/etcd/node/mend.sh has mended a row: it promises five.
MENDED_SECONDS = 8
#: Of those that are wrong, so many are told of.
SHOWN = 3

#: Of every overlay that the node is on, the end of its namespace's name, which begins its ID, and the ways to others.
_WAYS = """
for file in /run/docker/netns/*-*; do
    [ -e "$file" ] || continue
    echo "network ${file##*-}"
    nsenter --net="$file" bridge fdb show | grep ' dst '
done
"""


@dataclass(frozen=True, order=True)
class Endpoint:
    """An address on a network. `place` tells apart networks that only one host has; `host` is an address."""

    place: str
    address: str
    identity: str
    name: str
    mac: str
    host: str


@check("overlay")
def no_address_twice(proof: Proof) -> Iterator[Outcome]:
    """No two endpoints of a network have one address, by what the store and every Docker say."""
    said: list[Endpoint] = []

    def none_twice() -> bool:
        said[:] = {*in_store(proof), *(one for node in proof.cluster.nodes for one in _of_containers(proof, node))}
        return not twice(said)

    if wait_for(none_twice, PATIENCE):
        addresses = {(one.place, one.address) for one in said}
        yield passed("cluster", f"{len(addresses)} addresses, each of one endpoint")
    for first, *others in twice(said)[:SHOWN]:
        names = " and ".join(f"{one.name} ({one.identity[:12]})" for one in (first, *others))
        yield failed("cluster", f"{first.address} is that of {names}", "remove one of them, or give it another address")


def twice(said: Iterable[Endpoint]) -> list[list[Endpoint]]:
    """Return the endpoints that share their address with others, address by address."""
    by_address: dict[tuple[str, str], dict[str, Endpoint]] = {}
    for one in sorted(said):
        by_address.setdefault((one.place, one.address), {})[one.identity] = one
    return [list(found.values()) for found in by_address.values() if len(found) > 1]


@check("overlay")
def hosts_send_to_where_it_is(proof: Proof) -> Iterator[Outcome]:
    """What a host knows of the way to a container of another is true: none sends to where an address once was.

    Docker 20.10 may remember a way for ever (`own_addresses` in checks/probe_pool.py): node/mend.sh mends that.
    """
    wrong: dict[str, list[str]] = {}

    def all_right() -> bool:
        endpoints = list(in_store(proof))
        told = proof.coordinator.remotes.each(lambda remote: remote.run(_WAYS, what="a look at the ways between hosts"))
        wrong.update(
            {
                node.name: astray(endpoints, told[node.name].stdout, node.address, _names(proof))
                for node in proof.cluster.nodes
            }
        )
        return not any(wrong.values())

    wait_for(all_right, MENDED_SECONDS)
    for name, ways in wrong.items():
        if ways:
            advice = f"{paths.MEND_UNIT} should have mended that: journalctl -u {paths.MEND_UNIT}"
            yield failed(name, f"sends to the wrong host: {'; '.join(ways[:SHOWN])}", advice)
        else:
            yield passed(name, "sends to every container where it is")


def _names(proof: Proof) -> dict[str, str]:
    return {node.address: node.name for node in proof.cluster.nodes}


def astray(endpoints: Iterable[Endpoint], told: str, host: str, names: Mapping[str, str]) -> list[str]:
    """Say which containers of other hosts are looked for elsewhere, by `bridge fdb` of each network."""
    ways: dict[tuple[str, str], str] = {}
    network = ""
    for words in (line.split() for line in told.splitlines()):
        if words[0] == "network":
            network = words[1]
        else:
            ways[network, words[0]] = words[words.index("dst") + 1]
    return [
        f"{one.name} at {one.address} is on {names.get(one.host, one.host)}, not on {names.get(way, way)}"
        for one in sorted(endpoints)
        if one.host != host
        and (
            way := next(
                (to for (known, mac), to in ways.items() if mac == one.mac and known and one.place.startswith(known)),
                "",
            )
        )
        and way != one.host
    ]


def in_store(proof: Proof) -> Iterator[Endpoint]:
    """Walk the endpoints of the networks that all hosts share."""
    found = opened(proof.coordinator).store().get(ENDPOINTS)
    for network in (found or {}).get("nodes", ()):
        for entry in network.get("nodes", ()):
            said = json.loads(entry["value"])
            interface = said.get("ep_iface") or {}
            address = interface.get("addr", "").partition("/")[0]
            if address:
                place = network["key"].rpartition("/")[2]
                yield Endpoint(place, address, said["id"], said["name"], interface.get("mac", ""), said["locator"])


def _of_containers(proof: Proof, node: Node) -> Iterator[Endpoint]:
    """Walk the endpoints of a node's running containers."""
    shared = {one["Id"] for one in proof.coordinator.docker(node).api.networks() if one["Scope"] == "global"}
    for container in proof.coordinator.docker(node).api.containers():
        networks: Mapping[str, Any] = container["NetworkSettings"]["Networks"]
        for settings in networks.values():
            if settings["IPAddress"]:
                place = (
                    settings["NetworkID"] if settings["NetworkID"] in shared else f"{node.name}/{settings['NetworkID']}"
                )
                name = container["Names"][0].removeprefix("/")
                yield Endpoint(place, settings["IPAddress"], settings["EndpointID"], name, "", node.address)
