"""Mistakes in how values go together: an address used twice, overlays that overlap, a store without a member.

The rules read the page, not the document, and skip values that are wrong by themselves, so that one pass finds all
mistakes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any

from provision.inventory import releases
from provision.inventory.addresses import read_address, read_subnet
from provision.inventory.build import DEFAULT_NETWORKS
from provision.inventory.document import ETCD_VERSION
from provision.inventory.errors import Mistake, Wrong, show, visible
from provision.inventory.reader import Page
from provision.inventory.values import etcd_version, unused_port
from provision.layout import VXLAN_PORT
from provision.ports import Port
from provision.versions import begins, version_of

NOT_FOR_CONTAINERS = 3
"""Addresses of a subnet that no container gets: the first, the last, the gateway."""

BY_CPU = "sha256: {amd64: 64 digits, arm64: 64 digits}"

OWN_RANGE = "choose a range that nothing else uses, such as 10.99.0.0/24"


def broken(page: Page, ports: Collection[Port]) -> tuple[Mistake, ...]:
    """Return every mistake that the rules find. `ports` are the ports that a cluster opens."""
    return (*(mistake for rule in RULES for mistake in rule(page)), *ssh_leaves_our_ports(page, ports))


def ssh_leaves_our_ports(page: Page, ports: Collection[Port]) -> Iterator[Mistake]:
    """No sshd listens on a port that a cluster opens."""
    nodes = (("nodes", name, "ssh") for name in _section(page, "nodes"))
    for location in (("ssh",), *nodes):
        number = _section(page, *location).get("port")
        try:
            if isinstance(number, int):
                unused_port(number, ports)
        except Wrong as wrong:
            yield Mistake(page.line((*location, "port")), f"{'.'.join(location)}.port: {wrong.what}", wrong.advice)


def names_differ(page: Page) -> Iterator[Mistake]:
    """Node names differ in more than case, which DNS ignores."""
    seen: dict[str, str] = {}
    for name in _section(page, "nodes"):
        other = seen.setdefault(name.lower(), name)
        if other != name:
            what = f"nodes: {show(name)} and {show(other)} {_line(page, 'nodes', other)} differ in case only"
            yield Mistake(page.line(("nodes", name)), what, "give one of them another name")


def addresses_differ(page: Page) -> Iterator[Mistake]:
    """Each node has an address of its own."""
    seen: dict[IPv4Address, str] = {}
    for name, address in _addresses(page):
        other = seen.setdefault(address, name)
        if other != name:
            place = _line(page, "nodes", other, "address")
            what = f"nodes: {visible(name)} and {visible(other)} {place} have the same address, {address}"
            advice = "give each its own; on the node: ip -4 -brief address"
            yield Mistake(page.line(("nodes", name, "address")), what, advice)


def doors_differ(page: Page) -> Iterator[Mistake]:
    """No two nodes have the same sshd. If neither node sets ssh.host, `addresses_differ` finds the mistake."""
    shared = _section(page, "ssh")
    seen: dict[tuple[str, ...], tuple[str, bool]] = {}
    for name, node in _section(page, "nodes").items():
        own = _dict(_dict(node).get("ssh"))
        settings = {"host": _dict(node).get("address"), **shared, **own}
        sshd = tuple(str(settings.get(key)) for key in ("host", "port", "gateway"))
        other, by_host = seen.setdefault(sshd, (name, "host" in own))
        if other != name and (by_host or "host" in own):
            place = _line(page, "nodes", other)
            what = (
                f"nodes: {visible(name)} and {visible(other)} {place} have the same SSH host, {show(settings['host'])}"
            )
            yield Mistake(page.line(("nodes", name, "ssh", "host")), what, "give each its own ssh host or port")


def overlays_apart(page: Page) -> Iterator[Mistake]:
    """No address is in two overlays."""
    for (name, network), (other, second) in combinations(_subnets(page), 2):
        if network.overlaps(second):
            place = _line(page, "overlay", "networks", name)
            what = f"overlay {visible(other)}: {second} overlaps {network} of {visible(name)} {place}"
            yield Mistake(page.line(("overlay", "networks", other, "subnet")), what, OWN_RANGE)


def overlays_off_the_nodes(page: Page) -> Iterator[Mistake]:
    """No overlay contains a node's address: containers would look for that node inside the overlay."""
    for name, network in _subnets(page):
        for node, address in _addresses(page):
            if address in network:
                place = _line(page, "nodes", node, "address")
                what = f"overlay {visible(name)}: {network} holds {visible(node)}'s address {address} {place}"
                yield Mistake(page.line(("overlay", "networks", name, "subnet")), what, OWN_RANGE)


def overlays_have_room(page: Page) -> Iterator[Mistake]:
    """Each overlay has room for a container on each node: verification runs one there."""
    nodes = len(_section(page, "nodes"))
    for name, network in _subnets(page):
        if network.num_addresses < nodes + NOT_FOR_CONTAINERS and network.prefixlen <= 29:
            what = f"overlay {visible(name)}: {network} has no room for a container on each of {nodes} nodes"
            yield Mistake(page.line(("overlay", "networks", name, "subnet")), what, "take a larger one, a /24")


def two_nodes_stay(page: Page) -> Iterator[Mistake]:
    """Two nodes are not absent: a network of one host needs no overlay."""
    nodes = _section(page, "nodes")
    absent = [name for name, node in nodes.items() if _dict(node).get("state") == "absent"]
    if absent and len(nodes) - len(absent) < 2:
        advice = "keep two nodes; fab reset puts every host back"
        what = f"nodes: without {', '.join(map(visible, absent))} fewer than two nodes are left"
        yield Mistake(page.line(("nodes", absent[-1], "state")), what, advice)


def somebody_is_a_member(page: Page) -> Iterator[Mistake]:
    """The store has at least one member."""
    nodes = {name: node for name, node in _section(page, "nodes").items() if _dict(node).get("state") != "absent"}
    if nodes and all(_dict(node).get("member") is False for node in nodes.values()):
        advice = "delete `member: false` at one node, or at three if there are as many"
        yield Mistake(page.line(("nodes",)), "nodes: no node is a member of the store", advice)


def etcd_has_a_release(page: Page) -> Iterator[Mistake]:
    """Where etcd is asked for, the inventory names the release to push."""
    if _section(page, "docker").get("control_plane") == "etcd" and page.values.get("etcd") is None:
        what = "etcd: this key is missing, but docker.control_plane is etcd"
        yield Mistake(page.line(("docker", "control_plane")), what, f"add etcd: {{version: {ETCD_VERSION}}}")


def etcd_lacks_what_swarm_mode_has(page: Page) -> Iterator[Mistake]:
    """Where etcd is asked for, nothing is asked for that only swarm mode has."""
    if _section(page, "docker").get("control_plane") != "etcd":
        return
    asked: list[tuple[tuple[str, ...], str]] = [
        (("overlay", "networks", name, "encrypted"), "Docker has no keys to encrypt with")
        for name, network in _section(page, "overlay", "networks").items()
        if _dict(network).get("encrypted") is True
    ]
    if _section(page, "overlay").get("ingress") is False:
        asked.append((("overlay", "ingress"), "there is no network ingress"))
    if _section(page, "overlay").get("vxlan_port", VXLAN_PORT) != VXLAN_PORT:
        asked.append((("overlay", "vxlan_port"), f"Docker uses port {VXLAN_PORT}"))
    if _section(page, "docker").get("certificate_days") is not None:
        asked.append((("docker", "certificate_days"), "certificates are this tool's own: fab certs --rotate"))
    for location, reason in asked:
        what = f"{'.'.join(location)}: with docker.control_plane: etcd, {reason}"
        yield Mistake(page.line(location), what, "delete it, or use swarm mode")


def etcd_is_a_version_or_a_source(page: Page) -> Iterator[Mistake]:
    """A release of etcd is named in one way: by its version, or by its source."""
    if not isinstance(page.values.get("etcd"), dict):
        return
    etcd = _section(page, "etcd")
    if etcd.get("version") is None and etcd.get("source") is None:
        what = "etcd.version: this key is missing"
        yield Mistake(page.line(("etcd",)), what, f"add version: {ETCD_VERSION}, or source: and an archive")
    elif etcd.get("version") is not None and etcd.get("source") is not None:
        what = f"etcd.source: the release is named by its version already {_line(page, 'etcd', 'version')}"
        yield Mistake(page.line(("etcd", "source")), what, "delete one of the two")
    elif etcd.get("version") is None and etcd.get("mirror") is not None:
        what = "etcd.mirror: a source is not looked for there"
        yield Mistake(page.line(("etcd", "mirror")), what, "delete it, or write a version in place of the source")


def docker_comes_from_one_place(page: Page) -> Iterator[Mistake]:
    """Docker is installed from a package, or from archives."""
    docker = _section(page, "docker")
    if docker.get("source") is None:
        return
    if docker.get("package") is not None:
        what = f"docker.source: Docker comes from a package already {_line(page, 'docker', 'package')}"
        yield Mistake(page.line(("docker", "source")), what, "delete one of the two")
    if not any(_section(page, "docker", "source").values()):
        advice = "add amd64: {archive: docker-28.5.2.tgz, sha256: 64 digits}; for other CPUs arm64"
        yield Mistake(page.line(("docker", "source")), "docker.source: no archive is named", advice)
    wanted = docker.get("version")
    for cpu, archive in _section(page, "docker", "source").items():
        version = version_of(str(_dict(archive).get("archive", "")).rpartition("/")[2])
        if isinstance(wanted, str) and version and not begins(version, wanted):
            what = f"docker.source.{cpu}: the archive is of {version}, and docker.version is {visible(wanted)}"
            yield Mistake(page.line(("docker", "source", cpu, "archive")), what, "name the archive of that version")


def sources_are_pinned(page: Page) -> Iterator[Mistake]:
    """The checksum of a source that is downloaded is in the inventory, and a source has one checksum."""
    etcd = _section(page, "etcd")
    source, sha256 = etcd.get("source"), etcd.get("sha256")
    if str(source).startswith("https://") and sha256 is None:
        advice = "add sha256: and the digits from the release's file SHA256SUMS"
        yield Mistake(page.line(("etcd", "source")), "etcd.sha256: a download needs its checksum", advice)
    if source is not None and isinstance(sha256, dict):
        advice = "write sha256: and the 64 digits of the source"
        yield Mistake(page.line(("etcd", "sha256")), "etcd.sha256: a source has one checksum", advice)


def releases_are_pinned(page: Page) -> Iterator[Mistake]:
    """The checksums of a version are in the table of releases, or in the inventory: those of both agree."""
    etcd = _section(page, "etcd")
    version, sha256 = etcd.get("version"), etcd.get("sha256")
    if etcd.get("source") is not None or not _is_a_release(version):
        return
    known = releases.known().get(str(version), {})
    if sha256 is None and not known:
        what = f"etcd.sha256: this tool does not know the checksums of etcd {version}"
        advice = f"add {BY_CPU}, from the release's file SHA256SUMS; a CPU that no node has can be left out"
        yield Mistake(page.line(("etcd", "version")), what, advice)
    elif isinstance(sha256, str):
        advice = "delete it: this tool knows the checksums" if known else f"write {BY_CPU}"
        yield Mistake(page.line(("etcd", "sha256")), "etcd.sha256: a version has a checksum for each CPU", advice)
    for cpu, digits in _dict(sha256).items():
        if cpu in known and str(digits).lower() != known[cpu]:
            what = f"etcd.sha256.{cpu}: the archive of etcd {version} has {known[cpu][:12]}…"
            yield Mistake(page.line(("etcd", "sha256", cpu)), what, "delete it; a build of your own is a source")


def _is_a_release(version: object) -> bool:
    try:
        return isinstance(version, str) and bool(etcd_version(version))
    except Wrong:
        return False


RULES = (
    names_differ,
    addresses_differ,
    doors_differ,
    overlays_apart,
    overlays_off_the_nodes,
    overlays_have_room,
    two_nodes_stay,
    somebody_is_a_member,
    etcd_has_a_release,
    etcd_lacks_what_swarm_mode_has,
    etcd_is_a_version_or_a_source,
    docker_comes_from_one_place,
    sources_are_pinned,
    releases_are_pinned,
)


def _addresses(page: Page) -> Iterator[tuple[str, IPv4Address]]:
    for name, node in _section(page, "nodes").items():
        if address := read_address(_dict(node).get("address")):
            yield name, address


def _subnets(page: Page) -> Iterator[tuple[str, IPv4Network]]:
    if page.values.get("overlay") is None:
        yield from ((name, IPv4Network(each.subnet)) for name, each in DEFAULT_NETWORKS.items())
    for name, network in _section(page, "overlay", "networks").items():
        if subnet := read_subnet(_dict(network).get("subnet")):
            yield name, subnet


def _section(page: Page, *location: str) -> dict[str, Any]:
    section = page.values
    for key in location:
        section = _dict(_dict(section).get(key))
    return _dict(section)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(page: Page, *location: str) -> str:
    return f"(line {page.line(location)})"
