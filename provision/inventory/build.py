"""Build the cluster from the inventory, with every default filled in."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from provision.inventory import releases
from provision.inventory.addresses import AUTO
from provision.inventory.document import (
    NETWORKS,
    AppImageSection,
    DockerSection,
    Document,
    EtcdSection,
    NetworkSection,
    NodeSection,
    ProbeSection,
)
from provision.inventory.model import (
    SSH,
    App,
    AppImage,
    Archive,
    Cluster,
    DockerEngine,
    Etcd,
    EtcdRelease,
    Hardening,
    Network,
    Node,
    Probe,
)
from provision.layout import VXLAN_PORT

STORE_SIZE = 3
"""Members by default, if there are enough nodes: the fewest that survive the loss of one."""

DEFAULT_NETWORKS = {name: NetworkSection(subnet=each["subnet"]) for name, each in NETWORKS.items()}


def build(document: Document, path: Path) -> Cluster:
    """Return the cluster. Relative paths are taken from the inventory's folder."""
    path = path.absolute()
    present = {name: node for name, node in document.nodes.items() if node.state == "present"}
    members = members_of({name: node.member for name, node in present.items()})
    hosts = {
        name: Node(name, node.address, name in members, _ssh(document, node, path.parent))
        for name, node in document.nodes.items()
    }
    networks = document.overlay.networks if document.overlay else DEFAULT_NETWORKS
    probe = document.probe or ProbeSection()
    return Cluster(
        name=document.cluster,
        nodes=tuple(hosts[name] for name in present),
        etcd=_etcd(document.etcd, path.parent) if document.etcd else None,
        control_plane=document.docker.control_plane if document.docker else "auto",
        networks=tuple(
            Network(name, None if each.subnet == AUTO else IPv4Network(each.subnet), each.encrypted)
            for name, each in networks.items()
        ),
        probe=Probe(probe.image, _file(probe.archive, path.parent)),
        path=path,
        mtu=document.overlay.mtu if document.overlay and isinstance(document.overlay.mtu, int) else None,
        vxlan_port=document.overlay.vxlan_port if document.overlay else VXLAN_PORT,
        ingress=document.overlay.ingress if document.overlay else True,
        app=App(_image(document.app.redis, path.parent), _image(document.app.web, path.parent))
        if document.app
        else None,
        hardening=_hardening(document),
        certificate_days=document.docker.certificate_days if document.docker else None,
        docker_engine=_engine(document.docker, path.parent) if document.docker else DockerEngine(),
        firewall=document.firewall,
        absent=tuple(host for name, host in hosts.items() if name not in present),
    )


def _hardening(document: Document) -> Hardening:
    section = document.docker.hardening if document.docker else None
    return Hardening(**section.model_dump()) if section else Hardening()


def _engine(section: DockerSection, folder: Path) -> DockerEngine:
    sources = {} if section.source is None else dict(section.source)
    return DockerEngine(
        install=section.install,
        package=section.package or DockerEngine.package,
        archives={
            cpu: Archive(folder / Path(source.archive).expanduser(), source.sha256)
            for cpu, source in sources.items()
            if source
        },
        version=section.version or "",
        hold=section.hold,
    )


def members_of(settings: dict[str, bool | None]) -> set[str]:
    """Return the members of the store: nodes with `member: true`, then nodes without `member`, up to three in all."""
    chosen = [name for name, member in settings.items() if member]
    unset = [name for name, member in settings.items() if member is None]
    return {*chosen, *unset[: max(0, STORE_SIZE - len(chosen))]}


def _ssh(document: Document, node: NodeSection, folder: Path) -> SSH:
    # `gateway: null` at a node overrides the shared gateway; a missing line does not.
    shared = document.ssh.model_dump(exclude_unset=True) if document.ssh else {}
    own = node.ssh.model_dump(exclude_unset=True) if node.ssh else {}
    settings = shared | own
    return SSH(
        host=settings.get("host") or node.address,
        user=settings.get("user"),
        port=settings.get("port"),
        key=_file(settings.get("key"), folder),
        known_hosts=folder / Path(settings.get("known_hosts") or "~/.ssh/known_hosts").expanduser(),
        host_keys=settings.get("host_keys") or "ask",
        gateway=settings.get("gateway"),
    )


def _etcd(section: EtcdSection, folder: Path) -> Etcd | EtcdRelease:
    sha256 = section.sha256
    if section.version:
        checksums = {**releases.known().get(section.version, {}), **(sha256 if isinstance(sha256, dict) else {})}
        return EtcdRelease(section.version, section.mirror or releases.PUBLISHED, checksums)
    return Etcd(_source(section.source or "", folder), sha256 if isinstance(sha256, str) else None)


def _image(section: AppImageSection, folder: Path) -> AppImage:
    return AppImage(section.image, _file(section.archive, folder))


def _file(path: str | None, folder: Path) -> Path | None:
    return folder / Path(path).expanduser() if path else None


def _source(source: str, folder: Path) -> str:
    return source if "://" in source else str(folder / Path(source).expanduser())
