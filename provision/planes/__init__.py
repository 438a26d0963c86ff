"""The control planes, and how one is chosen. Nothing else knows which there are."""

from __future__ import annotations

from provision.core.plane import Plane
from provision.errors import Problem, UsageError
from provision.inventory.model import Cluster
from provision.ports import Port


def select(cluster: Cluster) -> Plane:
    """Return the control plane that the inventory asks for. UsageError where it is not to be had."""
    from provision.planes.etcd.plane import PLANE

    if cluster.control_plane == "swarm":
        raise UsageError(
            Problem(
                "docker.control_plane: swarm is not available in this version",
                where=str(cluster.path),
                advice="use `control_plane: etcd` (or auto), with Docker below 23 on every node",
            )
        )
    return PLANE


def ports() -> tuple[Port, ...]:
    """Return the ports of every control plane."""
    from provision.planes.etcd.ports import PORTS

    return PORTS
