"""The situation as it will be when the saved networks are back, and what differs from the inventory. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from provision.core.plan import CLUSTER
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.docker.containers import Container
from provision.errors import Problem
from provision.inventory.model import Network
from provision.network.subnets import subnets_of

#: The driver's option for encryption, as in phases/networks.py.
ENCRYPTED = "encrypted"


def shared(networks: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the overlay networks of users among those that hosts share."""
    return tuple(one for one in networks.values() if one.get("Driver") == "overlay" and not one.get("Ingress"))


def with_networks(situation: Situation, saved: Saved) -> Situation:
    """Return the situation with the saved networks, as the nodes' Docker will tell them.

    The backup is right where the inventory has another subnet. A network that the inventory does not have stays.
    """
    there = situation.networks
    back = tuple(one for one in saved.networks if one["Name"] not in there)
    first = situation.cluster.nodes[0].name
    facts = situation.facts[first]
    known = {**situation.facts, first: replace(facts, networks=(*facts.networks, *back))}
    before = {one["Name"]: one for one in saved.networks}
    networks = tuple(_as_saved(one, before.get(one.name)) for one in situation.cluster.networks)
    cluster = replace(situation.cluster, networks=networks)
    return replace(situation, cluster=cluster, facts=known, staying=tuple(before))


def _as_saved(network: Network, there: Mapping[str, Any] | None) -> Network:
    if there is None:
        return network
    subnet = next(iter(subnets_of(there)), network.subnet)
    return replace(network, subnet=subnet, encrypted=ENCRYPTED in (there.get("Options") or {}))


def differences(situation: Situation, saved: Saved) -> Iterator[Problem]:
    """Yield each network that is another one in the inventory than in the backup, which counts."""
    wanted = {one.name: one for one in situation.cluster.networks}
    for there in saved.networks:
        network = wanted.get(there["Name"])
        if network is None:
            what = f"network {there['Name']} is in the backup, and not in the inventory: it comes back"
            yield Problem(what, CLUSTER, "add it to the inventory, or fab provision removes it if this tool made it")
        elif network != _as_saved(network, there) and network.subnet:
            subnets = ", ".join(map(str, subnets_of(there)))
            what = f"network {network.name} comes back with {subnets}; the inventory has {network.subnet}"
            yield Problem(what, CLUSTER, "change the inventory; else fab provision makes the network anew")


def surviving(situation: Situation, saved: Saved) -> tuple[Container, ...]:
    """Return the saved containers that are still on a disk, each with the node where it is."""
    where = {
        one.identity: node.name
        for node in situation.cluster.nodes
        for one in (*situation.of(node).containers, *situation.of(node).stopped)
    }
    return tuple(
        replace(one, node=where[one.identity])
        for one in saved.containers
        if one.identity in where and not one.temporary
    )
