"""The host: a record of what was here, Docker at work, and its gateway bridge, before the swarm makes one."""

from __future__ import annotations

from provision import layout
from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.network.subnets import gateway_bridge
from provision.resources import Folder, GatewayBridge, Resource, Service


class Host(Phase):
    """What has to be on a host before it is in the swarm."""

    name = "host"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the record, Docker's service and its bridge."""
        return (
            Folder(layout.STATE, 0o700),
            Service(layout.DOCKER_UNIT, (), seconds=120),
            GatewayBridge(gateway_bridge(situation, node)),
        )
