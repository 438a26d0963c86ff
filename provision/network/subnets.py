"""Subnets: those in use on the nodes, and free ones for new networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses
from itertools import chain
from typing import Any

from provision.core.situation import Situation, is_shared
from provision.facts import Facts
from provision.inventory.model import Node

LENGTH = 24
"""Prefix length of a chosen subnet: room for 253 containers."""

BLOCK = 16
"""Prefix length of a block that a site tends to assign as a whole. An unused block is the best place for a subnet."""

PRIVATE = tuple(
    map(IPv4Network, (*(f"10.{n}.0.0/16" for n in (*range(99, 256), *range(99))), "172.16.0.0/12", "192.168.0.0/16"))
)
"""The private ranges (RFC 1918) in which a subnet is searched, in this order: the template's range comes first."""

DOCKERS = (*((IPv4Network(f"172.{n}.0.0/16"), 16) for n in range(17, 32)), (IPv4Network("192.168.0.0/16"), 20))
"""Docker's default pools for the networks of one host, and the prefix length of each (libnetwork, ipamutils)."""

DOCKER_DEVICE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
"""Docker's default names for the bridges of these networks."""

LEAST = 8
"""The smallest prefix length of a route that counts. A wider one, such as a VPN's 0.0.0.0/1, is a default route."""


@dataclass(frozen=True)
class Claim:
    """A subnet that is in use on a node, and by what. `docker`: by a network that Docker created on this host."""

    subnet: IPv4Network
    what: str
    docker: bool = False


def ipv4(text: str) -> IPv4Network | None:
    """Return the text as an IPv4 network; None if it is neither an IPv4 network nor an address."""
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        return None


def claims(situation: Situation, node: Node) -> tuple[Claim, ...]:
    """Return the subnets in use on a node, each once, without those of the inventory's networks."""
    facts = situation.of(node)
    # A network that the inventory no longer has is removed before others are created.
    ours = {*(network.name for network in situation.cluster.networks), *situation.dropped}
    foreign = [one for one in facts.networks if not is_shared(one) or one["Name"] not in ours]
    local = {subnet for one in foreign if not is_shared(one) for subnet in subnets_of(one)}
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
        device = words[words.index("dev") + 1] if "dev" in words[:-1] else ""  # a multipath route has none here
        # Devices of Docker's overlays, on a kernel that cannot hide them from the host.
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
            yield Claim(subnet, f"Docker's network {network['Name']}", not is_shared(network))


def subnets_of(network: Mapping[str, Any]) -> tuple[IPv4Network, ...]:
    """Return the IPv4 subnets of a network, given as in Docker's API."""
    pools = network.get("IPAM", {}).get("Config") or ()
    return tuple(subnet for pool in pools if (subnet := ipv4(pool.get("Subnet", ""))))


def taken(situation: Situation) -> tuple[IPv4Network, ...]:
    """Return every subnet that is in use on a node or named in the inventory."""
    nodes, networks = situation.cluster.nodes, situation.cluster.networks
    return (
        *(claim.subnet for node in nodes for claim in claims(situation, node)),
        *(IPv4Network(node.address) for node in nodes),
        *(network.subnet for network in networks if network.subnet),
    )


def free(taken: Iterable[IPv4Network], length: int = LENGTH) -> IPv4Network | None:
    """Return the first free subnet, in an unused block if there is one; None if no subnet is free. Pure."""
    used = tuple(collapse_addresses(taken))
    for room in (min(BLOCK, length), length):
        for pool in PRIVATE:
            if found := _gap(used, pool, room):
                return next(found.subnets(new_prefix=length))
    return None


def _gap(used: Sequence[IPv4Network], pool: IPv4Network, length: int) -> IPv4Network | None:
    """Return the first free subnet of a length in a pool; None if there is none. `used` is sorted, without overlaps."""
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
    """Return a subnet outside those in use and `others`, and outside Docker's pools on the nodes if possible."""
    used = (*taken(situation), *others)
    later = [base for node in situation.cluster.nodes for base, _ in docker_pools(situation.of(node))]
    return free((*used, *later), length) or free(used, length)


def assigned(situation: Situation) -> dict[str, IPv4Network]:
    """Return the subnet of each network of the inventory: the one it names, else the present one, else a free one.

    This depends on the situation alone, so that the plan, the check for overlaps and the change use the same subnet. If
    no subnet is free, the result is one in use, and the check for overlaps fails.
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
    """Return Docker's pools for a host's own networks, in Docker's order, each with the prefix length of a network."""
    said = facts.settings.get("default-address-pools") or ()
    pools = [(ipv4(str(pool.get("base"))), pool.get("size")) for pool in said if isinstance(pool, dict)]
    return tuple((base, size) for base, size in pools if base and isinstance(size, int)) or DOCKERS


def gateway_bridge(situation: Situation, node: Node) -> IPv4Network | None:
    """Return a subnet for docker_gwbridge if Docker would choose one in use, or find none; else None.

    Docker looks at the routes to devices in the main table, and not at other tables, black holes and overlays. With a
    VPN's route to 128.0.0.0/1 it finds no free subnet, and no container on an overlay starts (tried with 20.10.24).
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
