"""All that decides what the nodes should hold: a value, so that the same one always gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.artifact import Artifact
from provision.facts import Facts
from provision.inventory.model import Cluster, Node
from provision.pki import Identity
from provision.port_matrix import Matrix


@dataclass(frozen=True)
class Situation:
    """The inventory, the release, the certificates made so far, what was found on each node and between them."""

    cluster: Cluster
    artifact: Artifact
    identity: Identity
    facts: Mapping[str, Facts] = field(default_factory=dict)
    matrix: Matrix = field(default_factory=Matrix)

    def of(self, node: Node) -> Facts:
        """Return the facts of a node, empty ones before it was asked."""
        return self.facts.get(node.name, Facts())

    @property
    def networks(self) -> Mapping[str, Mapping[str, Any]]:
        """What any daemon on the store has there, by name, as Docker's API tells it."""
        return {
            network["Name"]: network
            for facts in self.facts.values()
            for network in facts.networks
            if network.get("Scope") == "global"
        }
