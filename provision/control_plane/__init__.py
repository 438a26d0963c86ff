"""Control planes: what makes overlay networks one network. Nothing outside this folder compares their names."""

from __future__ import annotations

from dataclasses import dataclass

from provision.errors import Problem, UsageError
from provision.inventory.model import Cluster
from provision.phases import Phase


@dataclass(frozen=True)
class Window:
    """Versions that work: from any of `lowest` (each within its own minor) to below `limit`."""

    lowest: tuple[tuple[int, ...], ...]
    limit: tuple[int, ...]

    def holds(self, version: str) -> bool:
        """Say whether a version such as `3.5.30` is inside."""
        numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
        floor = max((low for low in self.lowest if low[:2] <= numbers[:2]), default=None)
        return floor is not None and floor <= numbers < self.limit

    def __str__(self) -> str:
        """As a person says it."""
        lowest = " or ".join(".".join(map(str, low)) for low in self.lowest)
        return f"{lowest} and later, below {'.'.join(map(str, self.limit))}"


@dataclass(frozen=True)
class ControlPlane:
    """One way to make the networks one: its versions, the ports its nodes need, and its phases in order."""

    name: str
    store_versions: Window
    docker_versions: Window
    docker_reason: str
    member_ports: tuple[int, ...]
    node_ports: tuple[int, ...]
    phases: tuple[Phase, ...]
    #: Whether its nodes are in swarm mode; else none may be.
    swarm_mode: bool = False


def select(cluster: Cluster) -> ControlPlane:
    """Return the control plane that the inventory asks for. UsageError where it is not to be had."""
    from provision.control_plane.etcd import PLANE

    if cluster.control_plane == "swarm":
        raise UsageError(
            Problem(
                "docker.control_plane: swarm is not available in this version",
                where=str(cluster.path),
                advice="use `control_plane: etcd` (or auto), with Docker below 23 on every node",
            )
        )
    return PLANE
