"""The cluster as the rest of the program sees it: frozen, complete, nothing left to default."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

HostKeyPolicy = Literal["ask", "accept-new", "strict"]
PlaneName = Literal["auto", "etcd", "swarm"]


@dataclass(frozen=True)
class SSH:
    """How one node is reached. None: not said, so ~/.ssh/config and then OpenSSH's defaults decide."""

    host: str
    user: str | None
    port: int | None
    key: Path | None
    known_hosts: Path
    host_keys: HostKeyPolicy
    gateway: str | None


@dataclass(frozen=True)
class Node:
    """One host. `address` is the IPv4 that the other nodes use; `member` says whether it holds the store."""

    name: str
    address: str
    member: bool
    ssh: SSH


@dataclass(frozen=True)
class Etcd:
    """Where the etcd binaries come from: an archive, a folder, or an https URL with its sha256."""

    source: str
    sha256: str | None


@dataclass(frozen=True)
class Network:
    """An overlay network. No subnet: one is chosen that is free (provision/network/subnets.py)."""

    name: str
    subnet: IPv4Network | None


@dataclass(frozen=True)
class Probe:
    """What the proof runs: an image, and its archive where the nodes have no registry."""

    image: str
    archive: Path | None


@dataclass(frozen=True)
class AppImage:
    """An image of the counter, and its archive where the nodes have no registry."""

    image: str
    archive: Path | None


@dataclass(frozen=True)
class App:
    """The counter of examples/flask-redis, with which the proof ends."""

    redis: AppImage
    web: AppImage


@dataclass(frozen=True)
class Hardening:
    """What dockerd is told for safety's sake, where the user's own configuration does not say it (hardening.py)."""

    no_new_privileges: bool = True
    rotate_logs: bool = True
    limit_open_files: bool = False
    isolate_default_bridge: bool = False
    without_userland_proxy: bool = False


@dataclass(frozen=True)
class Cluster:
    """Everything the inventory says."""

    name: str
    nodes: tuple[Node, ...]
    etcd: Etcd
    control_plane: PlaneName
    networks: tuple[Network, ...]
    probe: Probe
    path: Path
    #: Bytes of the largest packet between the nodes; None: as their links say (provision/network/underlay.py).
    mtu: int | None = None
    #: None: the counter is not tried.
    app: App | None = None
    hardening: Hardening = field(default_factory=Hardening)
    #: Whether nodes let only each other reach the ports that we open.
    firewall: bool = False

    @property
    def folder(self) -> Path:
        """The cluster's identity on the controller: authorities, leaves. Beside the inventory, mode 0700."""
        return self.path.parent / ".overlay" / self.name

    @property
    def members(self) -> tuple[Node, ...]:
        """The nodes that hold the store, in inventory order."""
        return tuple(node for node in self.nodes if node.member)

    def node(self, name: str) -> Node:
        """Return the node of that name. KeyError if there is none."""
        return {node.name: node for node in self.nodes}[name]
