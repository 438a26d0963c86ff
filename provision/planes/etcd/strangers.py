"""Hosts that are no nodes and have endpoints in the store: whether they are gone, and what of theirs is freed. Pure.

An endpoint holds a container's name, aliases and address, and its network. Docker frees it when its container goes;
where the host is gone, nobody does.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Return the endpoints of hosts that are no nodes, by the host's address; not of those that are about to leave."""
    leave = {host.address for host in departure.leaving(situation)}
    told = (
        facts.answers.get("endpoints", "") for facts in situation.facts.values() if member_status(facts).get("leader")
    )
    rows = (line.split() for answer in told for line in answer.splitlines())
    found = sorted(
        {Endpoint(host, name, network, identity) for network, identity, host, name in rows if host not in leave}
    )
    return {host: tuple(of_host) for host, of_host in groupby(found, lambda one: one.host)}


def asked(situation: Situation) -> tuple[Node, ...]:
    """Return the nodes that are asked whether strangers live: those whose dockerd knows the store."""
    return tuple(node for node in situation.cluster.nodes if paths.DOCKER_STORE in situation.of(node).paths)


def are_gone(situation: Situation) -> frozenset[str]:
    """Return the addresses of strangers on which no dockerd lives: a node says so, and no other says that one does.

    An address that a node had before is gone, too: its dockerd restarts on the new one before anything is freed.
    """
    answers = (facts.answers.get("strangers", "") for facts in situation.facts.values())
    words = {(state, address) for answer in answers for state, address in map(str.split, answer.splitlines())}
    alive, gone = (frozenset(one for state, one in words if state == said) for said in ("alive", "gone"))
    return (gone - alive) | _former(situation) if is_running(situation) else frozenset()


def _former(situation: Situation) -> frozenset[str]:
    """Return the addresses under which the nodes' dockerds are on the store, where the nodes have others now."""
    in_use = (situation.of(node).answers.get("store-in-use", "") for node in situation.cluster.nodes)
    advertised = frozenset(words.partition(" ")[2].partition(":")[0] for words in in_use)
    return advertised - {"", *(node.address for node in situation.cluster.nodes)}


def to_free(situation: Situation) -> Mapping[str, tuple[Endpoint, ...]]:
    """Return the endpoints to free, by the host's address: of hosts that are gone, and members no more."""
    if leaving.guests(situation):
        return {}
    members = set(map(leaving.address, membership(situation).found))
    gone = are_gone(situation) - members
    return {host: found for host, found in endpoints(situation).items() if host in gone}


def named(situation: Situation, found: tuple[Endpoint, ...]) -> str:
    """Return containers by their names and networks: `web on demo, db on back`."""
    networks = {network.get("Id"): name for name, network in situation.networks.items()}
    return ", ".join(f"{one.name} on {networks.get(one.network, one.network[:12])}" for one in found)


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say which hosts live on in the networks though they are no nodes: what they have is not freed."""
    gone = are_gone(situation)
    advice = (
        "fab reset --only NAME, with an inventory that still names the host, or switch it off; then provision frees "
        "their names and addresses"
    )
    return tuple(
        Problem(f"{host} is no node, and has containers on the networks: {named(situation, found)}", "cluster", advice)
        for host, found in endpoints(situation).items()
        if host not in gone and is_running(situation)
    )
