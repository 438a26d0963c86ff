"""The endpoints of all networks, the users' own included: unique addresses, and packets sent to the right host."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision import layout
from provision.checks.proof import Proof
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node
from provision.planes.etcd.coordinator import opened
from provision.waiting import wait_for

#: The folder of Docker's endpoints in the store.
ENDPOINTS = "/docker/network/v1.0/endpoint"
#: Seconds in which every host learns of a new or removed endpoint.
PATIENCE = 5
#: Seconds in which planes/etcd/node/mend.sh mends a row; it promises five.
MENDED_SECONDS = 8
#: The number of faults that a report shows.
SHOWN = 3

#: For every overlay of the node, print the beginning of its ID (in its namespace's name) and its rows for other hosts.
_WAYS = """
for file in /run/docker/netns/*-*; do
    [ -e "$file" ] || continue
    echo "network ${file##*-}"
    nsenter --net="$file" bridge fdb show | grep ' dst '
done
"""


@dataclass(frozen=True, order=True)
class Endpoint:
    """An address on a network.

    `place`: the network's ID, with the node's name if the network is local to one node. `host`: an address.
    """

    place: str
    address: str
    identity: str
    name: str
    mac: str
    host: str


@check("overlay")
def no_address_twice(proof: Proof) -> Iterator[Outcome]:
    """Every address of a network belongs to one endpoint: two containers with one address lose each other's packets."""
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
    """Return the endpoints that share their address with others, one list for each address."""
    by_address: dict[tuple[str, str], dict[str, Endpoint]] = {}
    for one in sorted(said):
        by_address.setdefault((one.place, one.address), {})[one.identity] = one
    return [list(found.values()) for found in by_address.values() if len(found) > 1]


@check("overlay")
def hosts_send_to_where_it_is(proof: Proof) -> Iterator[Outcome]:
    """Every host sends packets for a container to the host where the container is, not to one where it was before.

    Docker 20.10 may keep an outdated row for ever (`own_addresses` in checks/probe_pool.py). node/mend.sh mends it.
    """
    wrong: dict[str, list[str]] = {}

    def all_right() -> bool:
        endpoints = list(in_store(proof))
        told = proof.coordinator.remotes.each(lambda remote: remote.run(_WAYS, what="reading the forwarding rows"))
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
            advice = f"{layout.MEND_UNIT} should have corrected that: journalctl -u {layout.MEND_UNIT}"
            yield failed(name, f"sends to the wrong host: {'; '.join(ways[:SHOWN])}", advice)
        else:
            yield passed(name, "sends to every container on the right host")


def _names(proof: Proof) -> dict[str, str]:
    return {node.address: node.name for node in proof.cluster.nodes}


def astray(endpoints: Iterable[Endpoint], told: str, host: str, names: Mapping[str, str]) -> list[str]:
    """Return the containers of other hosts whose packets go to the wrong host, by each network's `bridge fdb`."""
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
    """Yield the endpoints in the store: those of the networks that all hosts share."""
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
    """Yield the endpoints of a node's running containers."""
    shared = {one["Id"] for one in proof.coordinator.docker(node).api.networks() if one["Scope"] == "global"}
    for container in (one for one in proof.coordinator.docker(node).api.containers() if one["Names"]):
        networks: Mapping[str, Any] = container["NetworkSettings"]["Networks"]
        for settings in networks.values():
            if settings["IPAddress"]:
                place = (
                    settings["NetworkID"] if settings["NetworkID"] in shared else f"{node.name}/{settings['NetworkID']}"
                )
                name = container["Names"][0].removeprefix("/")
                yield Endpoint(place, settings["IPAddress"], settings["EndpointID"], name, "", node.address)
