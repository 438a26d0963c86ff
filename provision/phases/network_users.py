"""Whose containers are on the networks that hosts share: they stand in the way of a network's end. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from provision.core.situation import Situation, made_for
from provision.facts import RUN_LABEL, Container
from provision.inventory.model import Node
from provision.resources import KEEPER


class NetworkUser(NamedTuple):
    """A container that is not ours, on a network. One that is stopped counts: it could not be started any more."""

    container: str
    network: str
    running: bool

    def __str__(self) -> str:
        """Its name, and whether it is stopped."""
        return self.container if self.running else f"{self.container} (stopped)"


def is_a_users(container: Container) -> bool:
    """Say whether a container is neither a keeper nor one of a run's checks."""
    return not {KEEPER, RUN_LABEL} & container.labels.keys()


def users(situation: Situation, host: Node, networks: Collection[str]) -> tuple[NetworkUser, ...]:
    """Return the containers on a host that are not ours, once for each of these networks that they are on."""
    facts = situation.of(host)
    return tuple(
        NetworkUser(one.name, network, one in facts.containers)
        for one in facts.every_container
        if is_a_users(one)
        for network in one.networks
        if network in networks
    )


def shared(situation: Situation) -> frozenset[str]:
    """Return the names of all networks that hosts share, with those that only the inventory or a keeper names.

    Docker may be slow to list its networks. The network ingress is Docker's own.
    """
    seen = {name for name, network in situation.networks.items() if not network.get("Ingress")}
    containers = (one for facts in situation.facts.values() for one in facts.every_container)
    kept = {one.labels[KEEPER] for one in containers if KEEPER in one.labels}
    return frozenset(seen | kept | {network.name for network in situation.cluster.networks})


def of_users(situation: Situation) -> tuple[str, ...]:
    """Return the names of the networks that hosts share and that a user has created."""
    ours = {network.name for network in situation.cluster.networks}
    return tuple(
        name
        for name, network in situation.networks.items()
        if name not in ours
        and not network.get("Ingress")
        and not made_for(network)
        and RUN_LABEL not in (network.get("Labels") or {})
    )


def has_worked(situation: Situation) -> bool:
    """Say whether the networks were ever there to be used: a host has keepers, though its Docker may not answer."""
    return any(facts.values.get("keepers") for facts in situation.facts.values())


def are_hidden(situation: Situation, host: Node) -> bool:
    """Say whether a host's containers cannot be seen, though some may be on networks of ours."""
    facts = situation.of(host)
    return has_worked(situation) and bool(facts.values.get("dockerd")) and not facts.containers_known
