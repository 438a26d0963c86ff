"""The ports of this control plane. Docker's API has none: the controller comes to its socket through SSH."""

from __future__ import annotations

from dataclasses import replace

from provision import layout
from provision.facts import Facts
from provision.inventory.model import Cluster, Network
from provision.planes.swarm import view
from provision.ports import ENCRYPTED, OVERLAY, Port

MANAGEMENT_PORT = 2377


def in_a_swarm(facts: Facts, _unit: str) -> bool:
    """Say whether the node's daemon is in a swarm, or waits to be; a check of its own says whether that is ours.

    One that has left by itself may keep a port.
    """
    return view.daemon(facts).state == "active" or facts.values.get("swarm") == "yes" or layout.HELD in facts.paths


_MANAGEMENT = Port(
    MANAGEMENT_PORT,
    "tcp",
    layout.DOCKER_UNIT,
    "the swarm's managers",
    "mutual TLS",
    members=True,
    tells_removed=True,
)

#: A swarm's managers give its daemons the keys of their gossip, and new ones every twelve hours (swarmkit, keymanager).
_PORTS = (replace(port, protection="Docker's keys") if port.number == layout.GOSSIP_PORT else port for port in OVERLAY)
PORTS = tuple(replace(port, ours=in_a_swarm) for port in (_MANAGEMENT, *_PORTS))


def encrypted(cluster: Cluster) -> tuple[Network, ...]:
    """Return the encrypted networks of a cluster."""
    return tuple(network for network in cluster.networks if network.encrypted)


def of_cluster(cluster: Cluster) -> tuple[Port, ...]:
    """Return what the nodes of a cluster open."""
    ports = tuple(replace(port, number=cluster.vxlan_port) if port.in_kernel else port for port in PORTS)
    return (*ports, replace(ENCRYPTED, ours=in_a_swarm)) if encrypted(cluster) else ports
