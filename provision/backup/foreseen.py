"""The situation as it will be when the saved networks are back, and what differs from the inventory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from provision.backup.record import running
from provision.core.plan import CLUSTER
from provision.core.saved import Saved
from provision.core.situation import Situation, made_for
from provision.docker.containers import Container
from provision.errors import Problem
from provision.inventory.model import Network
from provision.network.subnets import subnets_of
from provision.phases.network_users import is_a_users

#: The driver's option for encryption, as in phases/networks.py.
ENCRYPTED = "encrypted"


def shared(networks: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the overlay networks of users among those that hosts share."""
    return tuple(one for one in networks if one.get("Driver") == "overlay" and not one.get("Ingress"))


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
        if network is None and made_for(there) == situation.cluster.name:
            what = f"network {there['Name']} is in the backup, and not in the inventory: it comes back"
            yield Problem(what, CLUSTER, "add it to the inventory, or fab provision removes it")
        elif network and network != _as_saved(network, there) and network.subnet:
            subnets = ", ".join(map(str, subnets_of(there)))
            what = f"network {network.name} comes back with {subnets}; the inventory has {network.subnet}"
            yield Problem(what, CLUSTER, "change the inventory; else fab provision makes the network anew")


def surviving(situation: Situation, saved: Saved, ran: tuple[Container, ...] = ()) -> tuple[Container, ...]:
    """Return the containers that come back, on the nodes where they are: of the saved ones, those that are still on a
    disk, or may be where Docker does not say; of others, those that run now: a restart of Docker stops them, too.

    `ran`: those that ran before a restore that goes on. They come back as the saved ones do.
    """
    there = situation.facts.items()
    where = {one.identity: name for name, facts in there for one in (*facts.containers, *facts.stopped)}
    silent = {name for name, facts in there if not facts.containers_known}
    back = [
        _on(replace(one, node=where.get(one.identity, one.node)), saved)
        for one in {one.identity: one for one in (*ran, *saved.containers)}.values()
        if not one.temporary and (one.identity in where or one.node in silent)
    ]
    known = {one.identity for one in back}
    others = (
        running(name, one.identity, one.name)
        for name, facts in there
        for one in facts.containers
        if one.identity not in known and is_a_users(one)
    )
    return (*back, *others)


def _on(container: Container, saved: Saved) -> Container:
    """Return the container with its places on the saved networks: the others, its host still has."""
    names = {one["Name"] for one in saved.networks}
    return replace(container, attachments=tuple(one for one in container.attachments if one.network in names))
