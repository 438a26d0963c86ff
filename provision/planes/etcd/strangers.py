"""Strangers: hosts that are no nodes and have endpoints in the store. Those of a host that is gone are freed. Pure.

An endpoint holds a container's name, aliases and address, and its network. dockerd frees it when the container ends. If
the host is lost, no dockerd does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from provision.core.situation import Situation
from provision.errors import Problem
from provision.inventory.model import Node
from provision.phases import departure
from provision.planes.etcd import leaving, paths
from provision.planes.etcd.membership import is_running, member_status, membership


@dataclass(frozen=True, order=True)
class Endpoint:
    """An endpoint in the store. `host` is an address, `network` and `identity` are full IDs."""

    host: str
    name: str
    network: str
    identity: str


def endpoints(situation: Situation) -> Mapping[str, tuple[Endpoint, ...]]:
    """Return the endpoints of strangers, by the host's address. A host that is about to leave is no stranger."""
    leave = {host.address for host in departure.leaving(situation)}
    members = (facts for facts in situation.facts.values() if member_status(facts).get("leader"))
    found = parsed(line for facts in members for line in facts.answers.get("endpoints", "").splitlines())
    return {host: of_host for host, of_host in found.items() if host not in leave}


def parsed(lines: Iterable[str]) -> Mapping[str, tuple[Endpoint, ...]]:
    """Return endpoints by the host's address, from the lines of a node's answer."""
    fields = (line.split() for line in lines)
    found = sorted({Endpoint(host, name, network, identity) for network, identity, host, name in fields})
    return {host: tuple(of_host) for host, of_host in groupby(found, lambda one: one.host)}


def asked(situation: Situation) -> tuple[Node, ...]:
    """Return the nodes that can find out whether a stranger lives: those with the list of the store's members."""
    return tuple(node for node in situation.cluster.nodes if paths.DOCKER_STORE in situation.of(node).paths)


def are_gone(situation: Situation) -> frozenset[str]:
    """Return the addresses without a living dockerd: at least one node says so, and no node says the opposite.

    A node's former address counts as well: the node's dockerd restarts with the new address before endpoints are freed.
    """
    answers = (facts.answers.get("strangers", "") for facts in situation.facts.values())
    words = {(state, address) for answer in answers for state, address in map(str.split, answer.splitlines())}
    alive, gone = (frozenset(one for state, one in words if state == said) for said in ("alive", "gone"))
    return (gone - alive) | _former(situation) if is_running(situation) else frozenset()


def _former(situation: Situation) -> frozenset[str]:
    """Return the addresses that the nodes' dockerds use in the store, and that no node has in the inventory."""
    in_use = (situation.of(node).answers.get("store-in-use", "") for node in situation.cluster.nodes)
    advertised = frozenset(words.partition(" ")[2].partition(":")[0] for words in in_use)
    return advertised - {"", *(node.address for node in situation.cluster.nodes)}


def to_free(situation: Situation) -> Mapping[str, tuple[Endpoint, ...]]:
    """Return the endpoints to free, by the host's address: those of hosts that are gone and are no members."""
    if situation.guests:
        return {}
    members = set(map(leaving.address, membership(situation).found))
    gone = are_gone(situation) - members
    return {host: found for host, found in endpoints(situation).items() if host in gone}


def named(situation: Situation, found: tuple[Endpoint, ...]) -> str:
    """Return the containers' names and networks: `web on demo, db on back`."""
    networks = {network.get("Id"): name for name, network in situation.networks.items()}
    return ", ".join(f"{one.name} on {networks.get(one.network, one.network[:12])}" for one in found)


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say which strangers may live: their endpoints are not freed."""
    gone = are_gone(situation)
    advice = (
        "fab reset --only NAME, with an inventory that still names the host, or switch the host off; then provision "
        "frees the names and addresses"
    )
    return tuple(
        Problem(f"{host} is no node, and has containers on the networks: {named(situation, found)}", "cluster", advice)
        for host, found in endpoints(situation).items()
        if host not in gone and is_running(situation)
    )
