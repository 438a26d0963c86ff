"""Whose addresses are whose: what the nodes have in use, and what is left for the networks that are made here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses
from itertools import chain
from typing import Any

from provision.core.situation import Situation
from provision.facts import Facts
from provision.inventory.model import Node

LENGTH = 24
"""Prefix length of a subnet that is chosen: 253 containers."""

BLOCK = 16
"""Prefix length of what a site tends to give away as one: a block with nothing in it is the best place."""

PRIVATE = tuple(
    map(IPv4Network, (*(f"10.{n}.0.0/16" for n in (*range(99, 256), *range(99))), "172.16.0.0/12", "192.168.0.0/16"))
)
"""Where a subnet is looked for, in this order (RFC 1918): first where the template's is."""

DOCKERS = (*((IPv4Network(f"172.{n}.0.0/16"), 16) for n in range(17, 32)), (IPv4Network("192.168.0.0/16"), 20))
"""What Docker takes the networks of a host from, and the prefix length of each (libnetwork, ipamutils)."""

DOCKER_DEVICE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
"""What it calls their bridges where nobody says otherwise."""

LEAST = 8
"""Prefix length. A route to more than any private range, such as a VPN's 0.0.0.0/1, is a default route in disguise."""


@dataclass(frozen=True)
class Claim:
    """Addresses that are in use on a node, and by what. `docker`: by a network that Docker made on this host."""

    subnet: IPv4Network
    what: str
    docker: bool = False


def ipv4(text: str) -> IPv4Network | None:
    """Return the IPv4 network or address that is written, None if it is none."""
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        return None


def claims(situation: Situation, node: Node) -> tuple[Claim, ...]:
    """Return what a node has in use, without the networks of the inventory. Each subnet once."""
    facts = situation.of(node)
    ours = {network.name for network in situation.cluster.networks}
    foreign = [one for one in facts.networks if one.get("Scope") != "global" or one["Name"] not in ours]
    local = {subnet for one in foreign if one.get("Scope") != "global" for subnet in subnets_of(one)}
    found: dict[IPv4Network, Claim] = {}
    for claim in chain(_routes(facts, local), _resolvers(facts), _networks(foreign)):
        if claim.subnet.prefixlen >= LEAST:
            found.setdefault(claim.subnet, claim)
    for address in map(IPv4Network, facts.mtus):
        if not any(address.subnet_of(subnet) for subnet in found):
            found[address] = Claim(address, f"its address {address.network_address}")
    return tuple(found.values())


def _routes(facts: Facts, local: set[IPv4Network]) -> Iterator[Claim]:
    for route in facts.values.get("routes", "").split(";"):
        words = route.split()
        device = words[words.index("dev") + 1] if "dev" in words[:-1] else ""  # none: more than one way
        # An overlay of Docker's on a kernel that cannot hide it from the host.
        if not words or device.startswith(("ov-", "vx-")):
            continue
        target = ipv4(words[1] if words[0] in ("blackhole", "unreachable", "prohibit", "throw") else words[0])
        if target:
            docker = target in local or bool(DOCKER_DEVICE.fullmatch(device))
            yield Claim(target, f"the route {route.strip()}", docker)


def _resolvers(facts: Facts) -> Iterator[Claim]:
    for address in facts.resolvers:
        if resolver := ipv4(address):
            yield Claim(resolver, f"the name server {address}")


def _networks(networks: Iterable[Mapping[str, Any]]) -> Iterator[Claim]:
    for network in networks:
        for subnet in subnets_of(network):
            yield Claim(subnet, f"Docker's network {network['Name']}", network.get("Scope") != "global")


def subnets_of(network: Mapping[str, Any]) -> tuple[IPv4Network, ...]:
    """Return the IPv4 subnets of a network as Docker's API tells it."""
    pools = network.get("IPAM", {}).get("Config") or ()
    return tuple(subnet for pool in pools if (subnet := ipv4(pool.get("Subnet", ""))))


def taken(situation: Situation) -> tuple[IPv4Network, ...]:
    """Return every subnet that any node has in use, and what the inventory says itself."""
    nodes, networks = situation.cluster.nodes, situation.cluster.networks
    return (
        *(claim.subnet for node in nodes for claim in claims(situation, node)),
        *(IPv4Network(node.address) for node in nodes),
        *(network.subnet for network in networks if network.subnet),
    )


def free(taken: Iterable[IPv4Network], length: int = LENGTH) -> IPv4Network | None:
    """Return the first free subnet, in a block with nothing in it if there is one. None where all is taken. Pure."""
    used = tuple(collapse_addresses(taken))
    for room in (min(BLOCK, length), length):
        for pool in PRIVATE:
            if found := _gap(used, pool, room):
                return next(found.subnets(new_prefix=length))
    return None


def _gap(used: Sequence[IPv4Network], pool: IPv4Network, length: int) -> IPv4Network | None:
    """Return the first subnet of that length in a pool. `used` is in order, and nothing of it overlaps."""
    step = 1 << (32 - length)
    start = int(pool.network_address)
    for subnet in used:
        if subnet.overlaps(pool):
            if start + step <= int(subnet.network_address):
                break
            behind = int(subnet.broadcast_address) + 1
            start = -(-behind // step) * step
    return IPv4Network((start, length)) if start + step - 1 <= int(pool.broadcast_address) else None


def spare(situation: Situation, others: Iterable[IPv4Network] = (), length: int = LENGTH) -> IPv4Network | None:
    """Return a subnet that no node has in use, nor `others`; if it can be, none that Docker takes later on a host."""
    used = (*taken(situation), *others)
    later = [base for node in situation.cluster.nodes for base, _ in docker_pools(situation.of(node))]
    return free((*used, *later), length) or free(used, length)


def assigned(situation: Situation) -> dict[str, IPv4Network]:
    """Return the subnet of each network of the inventory: as it says, else as it is already, else one that is free.

    The situation alone decides: the plan, the check for overlaps and the change see the same. Where nothing is free it
    is one that is taken, which the check tells.
    """
    found = situation.networks
    subnets = {
        network.name: network.subnet or next(iter(subnets_of(found.get(network.name, {}))), None)
        for network in situation.cluster.networks
    }
    for name, subnet in subnets.items():
        if subnet is None:
            known = [other for other in subnets.values() if other]
            subnets[name] = spare(situation, known) or IPv4Network((PRIVATE[0].network_address, LENGTH))
    return {name: subnet for name, subnet in subnets.items() if subnet}


def docker_pools(facts: Facts) -> tuple[tuple[IPv4Network, int], ...]:
    """Return where Docker takes a host's own networks from, in its order, each with the prefix length of one."""
    said = facts.settings.get("default-address-pools") or ()
    pools = [(ipv4(str(pool.get("base"))), pool.get("size")) for pool in said if isinstance(pool, dict)]
    return tuple((base, size) for base, size in pools if base and isinstance(size, int)) or DOCKERS


def gateway_bridge(situation: Situation, node: Node) -> IPv4Network | None:
    """Return the subnet for docker_gwbridge where Docker would take one that is in use, or finds none; else None.

    Docker looks at the main table's routes to devices, not at other tables, black holes and overlays. Where a VPN has
    128.0.0.0/1 it finds nothing free, and no container on an overlay starts (tried, 20.10.24).
    """
    facts, found = situation.of(node), claims(situation, node)
    own = [claim.subnet for claim in found if claim.docker]
    others = [*(claim.subnet for claim in found if not claim.docker), *assigned(situation).values()]
    wide = [claim.subnet for claim in _routes(facts, set()) if claim.subnet.prefixlen < LEAST]
    pools = chain.from_iterable(
        base.subnets(new_prefix=size) for base, size in docker_pools(facts) if size >= base.prefixlen
    )
    left = [subnet for subnet in pools if not _any_overlaps(own, subnet)]
    if not left or not _any_overlaps([*others, *wide], left[0]):
        return None
    return next((subnet for subnet in left if not _any_overlaps(others, subnet)), None) or free((*own, *others))


def _any_overlaps(subnets: Iterable[IPv4Network], subnet: IPv4Network) -> bool:
    return any(subnet.overlaps(one) for one in subnets)
