"""What no value shows by itself: two nodes with one address, overlays in each other's way, a store without a member.

They read the page, not the document, and pass over what is wrong in itself: so all mistakes are found at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any

from provision.inventory.build import DEFAULT_NETWORKS
from provision.inventory.mistakes import Location, Mistake, show, visible
from provision.inventory.reader import Page
from provision.inventory.values import read_address, read_subnet


def broken(page: Page) -> tuple[Mistake, ...]:
    """Return every mistake that takes two values to see."""
    return tuple(mistake for rule in RULES for mistake in rule(page))


def names_differ(page: Page) -> Iterator[Mistake]:
    """Hosts' names are the same to DNS in any case."""
    seen: dict[str, str] = {}
    for name in _section(page, "nodes"):
        other = seen.setdefault(name.lower(), name)
        if other != name:
            what = f"nodes: {show(name)} and {show(other)} {_on(page, 'nodes', other)} differ in case only"
            yield Mistake(page.line(("nodes", name)), what, "give one of them another name")


def addresses_differ(page: Page) -> Iterator[Mistake]:
    """Each node has an address of its own."""
    seen: dict[IPv4Address, str] = {}
    for name, address in _addresses(page):
        other = seen.setdefault(address, name)
        if other != name:
            what = f"{visible(name)} has the address of {visible(other)} {_on(page, 'nodes', other, 'address')}, {address}"
            advice = f"write {visible(name)}'s own; on the node: ip -4 -brief address"
            yield Mistake(page.line(("nodes", name, "address")), what, advice)


def doors_differ(page: Page) -> Iterator[Mistake]:
    """No two nodes are entered by one sshd."""
    seen: dict[tuple[object, ...], str] = {}
    shared = _section(page, "ssh")
    for name, node in _section(page, "nodes").items():
        own = _dict(_dict(node).get("ssh"))
        if "host" not in own:
            continue
        said = shared | own
        door = tuple(str(said.get(key)) for key in ("host", "port", "gateway"))
        other = seen.setdefault(door, name)
        if other != name:
            what = f"{visible(name)} is reached at {show(own['host'])} as {visible(other)} is {_on(page, 'nodes', other)}"
            yield Mistake(
                page.line(("nodes", name, "ssh", "host")), what, "write each node's own ssh host or port"
            )


def overlays_apart(page: Page) -> Iterator[Mistake]:
    """No overlay holds an address of another one."""
    for (name, network), (other, second) in combinations(_subnets(page), 2):
        if network.overlaps(second):
            place = _on(page, "overlay", "networks", name, "subnet")
            what = f"overlay {visible(other)}: {second} overlaps {network} of {visible(name)} {place}"
            line = page.line(("overlay", "networks", other, "subnet"))
            yield Mistake(
                line, what, "give each network a range of its own, such as 10.99.0.0/24 and 10.99.1.0/24"
            )


def overlays_off_the_nodes(page: Page) -> Iterator[Mistake]:
    """No overlay holds a node's address: the containers would take the host for one of them."""
    for name, network in _subnets(page):
        for node, address in _addresses(page):
            if address in network:
                place = _on(page, "nodes", node, "address")
                what = f"overlay {visible(name)}: {network} holds the address of {visible(node)} {place}, {address}"
                line = page.line(("overlay", "networks", name, "subnet"))
                yield Mistake(line, what, "choose a range that no host uses, such as 10.99.0.0/24")


def overlays_have_room(page: Page) -> Iterator[Mistake]:
    """A container on each node fits in each overlay: the proof runs one. Not for containers: both ends, the gateway."""
    nodes = len(_section(page, "nodes"))
    for name, network in _subnets(page):
        if 5 < network.num_addresses < nodes + 3:
            what = f"overlay {visible(name)}: {network} has no room for a container on each of {nodes} nodes"
            yield Mistake(
                page.line(("overlay", "networks", name, "subnet")), what, "take a larger range, such as a /24"
            )


def somebody_is_a_member(page: Page) -> Iterator[Mistake]:
    """The store needs a place."""
    nodes = _section(page, "nodes")
    if nodes and all(_dict(node).get("member") is False for node in nodes.values()):
        yield Mistake(
            page.line(("nodes",)), "no node is a member of the store", "delete `member: false` of three nodes"
        )


def downloads_are_pinned(page: Page) -> Iterator[Mistake]:
    """What comes from the network is known beforehand."""
    etcd = _section(page, "etcd")
    if str(etcd.get("source")).startswith("https://") and etcd.get("sha256") is None:
        what = "etcd: a download needs its checksum"
        yield Mistake(
            page.line(("etcd", "source")), what, "add sha256: …, from the release's file SHA256SUMS"
        )


RULES = (
    names_differ,
    addresses_differ,
    doors_differ,
    overlays_apart,
    overlays_off_the_nodes,
    overlays_have_room,
    somebody_is_a_member,
    downloads_are_pinned,
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
    value = page.values
    for key in location:
        value = _dict(_dict(value).get(key))
    return _dict(value)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _on(page: Page, *location: str) -> str:
    place: Location = location
    return f"(line {page.line(place)})"
