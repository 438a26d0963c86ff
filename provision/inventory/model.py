"""The cluster as the rest of the program sees it: frozen, complete, every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

from provision.layout import VXLAN_PORT
from provision.versions import version_of

HostKeyPolicy = Literal["ask", "accept-new", "strict"]
PlaneName = Literal["auto", "etcd", "swarm"]


@dataclass(frozen=True)
class SSH:
    """How one node is reached. None: not set, so ~/.ssh/config and then OpenSSH's defaults decide."""

    host: str
    user: str | None
    port: int | None
    key: Path | None
    known_hosts: Path
    host_keys: HostKeyPolicy
    gateway: str | None


@dataclass(frozen=True)
class Node:
    """One host. `address` is the IPv4 that the other nodes use; `member`: whether it is a member of the store."""

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
class EtcdRelease:
    """A published release of etcd: each node gets the archive for its CPU, from below `mirror`.

    `sha256`: the checksums of its archives by architecture, as the archives' names have it (amd64).
    """

    version: str
    mirror: str
    sha256: Mapping[str, str]


@dataclass(frozen=True)
class Network:
    """An overlay network. Without a subnet, a free one is chosen (provision/network/subnets.py)."""

    name: str
    subnet: IPv4Network | None
    #: Whether packets between hosts are encrypted, which only swarm mode can.
    encrypted: bool = False


@dataclass(frozen=True)
class Probe:
    """The image that verification runs, and its archive for nodes without a registry."""

    image: str
    archive: Path | None


@dataclass(frozen=True)
class AppImage:
    """An image of the counter, and its archive for nodes without a registry."""

    image: str
    archive: Path | None


@dataclass(frozen=True)
class App:
    """The counter of examples/flask-redis, which verification tries last."""

    redis: AppImage
    web: AppImage


@dataclass(frozen=True)
class Hardening:
    """Safer settings of dockerd, unless the user's own configuration has them (hardening.py)."""

    no_new_privileges: bool = True
    rotate_logs: bool = True
    limit_open_files: bool = False
    isolate_default_bridge: bool = False
    without_userland_proxy: bool = False


@dataclass(frozen=True)
class Archive:
    """A static release of Docker, as a file on the controller, and its checksum."""

    path: Path
    sha256: str

    @property
    def version(self) -> str:
        """The version in the file's name, as Docker publishes it."""
        return version_of(self.path.name)


@dataclass(frozen=True)
class DockerEngine:
    """Docker's programs on the nodes: whether they are installed, from where, and in which version."""

    #: Whether Docker is installed where a host has none.
    install: bool = False
    #: The distribution's package, where there are no archives.
    package: str = "docker.io"
    #: Static releases in place of the package, by CPU as the archives' names have it (amd64).
    archives: Mapping[str, Archive] = field(default_factory=dict)
    #: The version that every host should have, or its beginning; empty: any.
    version: str = ""
    #: Whether the package is held where another version cannot work (`apt-mark hold`).
    hold: bool = True


@dataclass(frozen=True)
class Cluster:
    """Everything the inventory says."""

    name: str
    nodes: tuple[Node, ...]
    #: None: the inventory names no release, for control planes without etcd.
    etcd: Etcd | EtcdRelease | None
    control_plane: PlaneName
    networks: tuple[Network, ...]
    probe: Probe
    path: Path
    #: The largest packet between the nodes in bytes; None: the links' MTU (provision/network/underlay.py).
    mtu: int | None = None
    #: Whether a swarm keeps the network that services publish their ports on.
    ingress: bool = True
    #: The UDP port of packets between containers on different hosts; only swarm mode takes another one.
    vxlan_port: int = VXLAN_PORT
    #: None: the counter is not tried.
    app: App | None = None
    hardening: Hardening = field(default_factory=Hardening)
    docker_engine: DockerEngine = field(default_factory=DockerEngine)
    #: Whether only the nodes may reach the ports that are opened on them.
    firewall: bool = False
    #: How long Docker's certificates in swarm mode last, in days; None: as long as Docker chooses, which is 90.
    certificate_days: int | None = None
    #: Hosts that leave (`state: absent`); they are no nodes any more.
    absent: tuple[Node, ...] = ()

    @property
    def hosts(self) -> tuple[Node, ...]:
        """Every host that the inventory names: the nodes, and those that leave."""
        return (*self.nodes, *self.absent)

    @property
    def folder(self) -> Path:
        """The folder of the cluster's authorities and leaf certificates, beside the inventory, mode 0700."""
        return self.path.parent / ".overlay" / self.name

    @property
    def members(self) -> tuple[Node, ...]:
        """The members of the store, in inventory order."""
        return tuple(node for node in self.nodes if node.member)

    def node(self, name: str) -> Node:
        """Return the node of that name. KeyError if there is none."""
        return {node.name: node for node in self.nodes}[name]
