"""All that decides what the nodes should hold: a value, so that the same one always gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.core.reach import Matrix
from provision.facts import Facts
from provision.inventory.model import Cluster, Node

#: The label of every network that we create; its value is the cluster's name.
LABEL = "overlay-provision.cluster"


@dataclass(frozen=True)
class Situation:
    """The inventory, what the controller keeps for the cluster, what was found on each node and between them.

    `local` is the control plane's own: nothing else looks inside.
    """

    cluster: Cluster
    local: object = None
    facts: Mapping[str, Facts] = field(default_factory=dict)
    matrix: Matrix = field(default_factory=Matrix)
    #: Whether the cluster was provisioned before, so that its control plane is settled.
    recorded: bool = False
    #: Whether this stage only prepares the hosts for the others: most phases wait.
    preparing: bool = False
    #: Addresses of hosts that leave in this stage: the nodes let them in until they have left.
    guests: tuple[str, ...] = ()
    #: Names of networks that stay, though the inventory does not have them.
    staying: tuple[str, ...] = ()
    #: The list of recoveries that the controller keeps: see recovery/generations.py.
    recoveries: tuple[str, ...] = ()

    def of(self, node: Node) -> Facts:
        """Return the facts of a node, empty ones before it was asked."""
        return self.facts.get(node.name, Facts())

    @property
    def networks(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the networks that every host shares, by name, as Docker's API tells them."""
        return {
            network["Name"]: network
            for facts in self.facts.values()
            for network in facts.networks
            if is_shared(network)
        }

    @property
    def dropped(self) -> tuple[str, ...]:
        """Return the names of the networks that we made for this cluster, and that the inventory no longer has."""
        wanted = {*self.staying, *(network.name for network in self.cluster.networks)}
        ours = (name for name, network in self.networks.items() if made_for(network) == self.cluster.name)
        return tuple(name for name in ours if name not in wanted)


def made_for(network: Mapping[str, Any]) -> str:
    """Return the cluster for which we made a network, given as in Docker's API; empty if we did not make it."""
    return str((network.get("Labels") or {}).get(LABEL, ""))


def is_shared(network: Mapping[str, Any]) -> bool:
    """Say whether hosts share a network, given as in Docker's API."""
    return network.get("Scope") in ("global", "swarm")
