"""From the inventory as written to the cluster as the program sees it: every default filled in."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from provision.inventory.addresses import AUTO
from provision.inventory.document import NETWORKS, AppImageSection, Document, NetworkSection, NodeSection, ProbeSection
from provision.inventory.model import SSH, App, AppImage, Cluster, Etcd, Hardening, Network, Node, Probe

STORE_SIZE = 3
"""Members where there are nodes enough: the fewest that outlive the loss of one."""

DEFAULT_NETWORKS = {name: NetworkSection(subnet=each["subnet"]) for name, each in NETWORKS.items()}


def build(document: Document, path: Path) -> Cluster:
    """Return the cluster. Relative paths are taken from the inventory's folder."""
    path = path.absolute()
    members = members_of({name: node.member for name, node in document.nodes.items()})
    networks = document.overlay.networks if document.overlay else DEFAULT_NETWORKS
    probe = document.probe or ProbeSection()
    return Cluster(
        name=document.cluster,
        nodes=tuple(
            Node(name, node.address, name in members, _ssh(document, node, path.parent))
            for name, node in document.nodes.items()
        ),
        etcd=Etcd(_source(document.etcd.source, path.parent), document.etcd.sha256),
        control_plane=document.docker.control_plane if document.docker else "auto",
        networks=tuple(
            Network(name, None if each.subnet == AUTO else IPv4Network(each.subnet)) for name, each in networks.items()
        ),
        probe=Probe(probe.image, _file(probe.archive, path.parent)),
        path=path,
        mtu=document.overlay.mtu if document.overlay and isinstance(document.overlay.mtu, int) else None,
        app=App(_image(document.app.redis, path.parent), _image(document.app.web, path.parent))
        if document.app
        else None,
        hardening=_hardening(document),
        firewall=document.firewall,
    )


def _hardening(document: Document) -> Hardening:
    said = document.docker.hardening if document.docker else None
    return Hardening(**said.model_dump()) if said else Hardening()


def members_of(said: dict[str, bool | None]) -> set[str]:
    """Return who holds the store: those who say so, then in order the silent ones, up to three in all."""
    chosen = [name for name, member in said.items() if member]
    silent = [name for name, member in said.items() if member is None]
    return {*chosen, *silent[: max(0, STORE_SIZE - len(chosen))]}


def _ssh(document: Document, node: NodeSection, folder: Path) -> SSH:
    # `gateway: null` at a node is said, and overrides; an absent line is not.
    shared = document.ssh.model_dump(exclude_unset=True) if document.ssh else {}
    own = node.ssh.model_dump(exclude_unset=True) if node.ssh else {}
    said = shared | own
    return SSH(
        host=said.get("host") or node.address,
        user=said.get("user"),
        port=said.get("port"),
        key=_file(said.get("key"), folder),
        known_hosts=folder / Path(said.get("known_hosts") or "~/.ssh/known_hosts").expanduser(),
        host_keys=said.get("host_keys") or "ask",
        gateway=said.get("gateway"),
    )


def _image(said: AppImageSection, folder: Path) -> AppImage:
    return AppImage(said.image, _file(said.archive, folder))


def _file(path: str | None, folder: Path) -> Path | None:
    return folder / Path(path).expanduser() if path else None


def _source(source: str, folder: Path) -> str:
    return source if "://" in source else str(folder / Path(source).expanduser())
