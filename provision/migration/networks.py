"""The networks of the cluster before a migration, from whatever still knows them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.core.plan import CLUSTER
from provision.core.plane import Plane
from provision.core.situation import LABEL, Situation, is_shared
from provision.docker.containers import Container
from provision.errors import Problem
from provision.inventory.model import Network
from provision.migration.record import Pool, SharedNetwork
from provision.network.subnets import LENGTH, ipv4
from provision.phases.networks import MTU

#: The networks that every host has for itself.
HOSTS_OWN = ("bridge", "host", "none")
#: The driver that gives a network its addresses, unless its user has chosen another.
DRIVER = "default"
#: The driver's options that a network keeps. It had its numbers (VNI) from the former control plane.
KEPT_OPTIONS = (MTU,)


def of_docker(network: Mapping[str, Any]) -> SharedNetwork:
    """Return a network from what Docker's API tells of it."""
    addresses = network.get("IPAM") or {}
    pools = addresses.get("Config") or ()
    options = network.get("Options") or {}
    return SharedNetwork(
        network["Name"],
        tuple(Pool(pool.get("Subnet", ""), pool.get("Gateway", ""), pool.get("IPRange", "")) for pool in pools),
        {name: options[name] for name in KEPT_OPTIONS if name in options},
        dict(network.get("Labels") or {}),
        bool(network.get("Internal")),
        lost=tuple(_lost(network, addresses, pools)),
    )


def _lost(
    network: Mapping[str, Any], addresses: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what the next control plane does not give a network, or gives in another way."""
    driver = addresses.get("Driver") or DRIVER
    if driver != DRIVER:
        yield f"addresses of the driver {driver} (--ipam-driver)"
    if any(pool.get("AuxiliaryAddresses") for pool in pools):
        yield "addresses that are kept for others (--aux-address)"
    if network.get("EnableIPv6") or not all(ipv4(pool.get("Subnet", "")) for pool in pools):
        yield "IPv6 addresses (--ipv6)"


def obstacles(after: Plane, found: Iterable[SharedNetwork]) -> Iterator[Problem]:
    """Yield each network that the next control plane cannot have as it is, and what to do."""
    for network in found:
        reasons = [f"it has {one}" for one in network.lost]
        if not after.network_names.fullmatch(network.name) or len(network.name) > after.network_name_length:
            reasons.append(f"its name is none that {after.name} takes")
        if reasons:
            what = f"network {network.name} cannot come along to {after.name}: {', and '.join(reasons)}"
            advice = (
                "create another network, connect its containers to that one and disconnect them from this one; then "
                f"docker network rm {network.name}"
            )
            yield Problem(what, CLUSTER, advice)


def forgotten(situation: Situation, containers: Iterable[Container], names: Collection[str]) -> Iterator[Problem]:
    """Yield each place of a container on a network that is neither among those found nor its host's own."""
    for one in containers:
        facts = situation.facts[one.node]
        own = {*HOSTS_OWN, *(network["Name"] for network in facts.networks if not is_shared(network))}
        for place in one.attachments:
            if place.network not in names and place.network not in own:
                what = f"container {one.name} is on the network {place.network}, of which nothing is known any more"
                yield Problem(what, one.node, f"docker network disconnect -f {place.network} {one.name}")


def known(
    situation: Situation, containers: Iterable[Container], *sources: Iterable[SharedNetwork]
) -> tuple[SharedNetwork, ...]:
    """Return every network that hosts share, each as the first of the sources tells it that knows it.

    `sources`, best first. After them come the nodes' Docker, and the inventory with the addresses of containers. A
    network on which containers are, and which no node has for itself alone, is a shared one.
    """
    attached = [(one, address) for container in containers for one, address in _attached(container)]
    local = {network["Name"] for facts in situation.facts.values() for network in facts.networks if not _is(network)}
    there = [of_docker(one) for facts in situation.facts.values() for one in facts.networks if _is(one)]
    guessed = [_of_inventory(situation, one, attached) for one in situation.cluster.networks]
    guessed += [_guessed(name, attached) for name in dict.fromkeys(name for name, _ in attached) if name not in local]
    found: dict[str, SharedNetwork] = {}
    for network in (*(one for source in sources for one in source), *there, *filter(None, guessed)):
        if network.pools:
            found.setdefault(network.name, network)
    return tuple(found.values())


def _is(network: Mapping[str, Any]) -> bool:
    return is_shared(network) and network.get("Driver") == "overlay" and not network.get("Ingress")


def _attached(container: Container) -> Iterable[tuple[str, str]]:
    return ((one.network, one.address) for one in container.attachments)


def _of_inventory(situation: Situation, network: Network, attached: list[tuple[str, str]]) -> SharedNetwork | None:
    if network.subnet is None:
        return _guessed(network.name, attached, situation.cluster.name)
    size = {MTU: str(situation.cluster.mtu)} if situation.cluster.mtu else {}
    return SharedNetwork(network.name, (Pool(str(network.subnet)),), size, {LABEL: situation.cluster.name})


def _guessed(name: str, attached: list[tuple[str, str]], cluster: str = "") -> SharedNetwork | None:
    """Return a network from an address on it: Docker and the inventory's `auto` choose subnets of one length."""
    address = next((address for network, address in attached if network == name and address), None)
    if not address:
        return None
    subnet = IPv4Network((IPv4Address(address), LENGTH), strict=False)
    return SharedNetwork(name, (Pool(str(subnet)),), labels={LABEL: cluster} if cluster else {}, guessed=True)


def kept_free(network: SharedNetwork, containers: Iterable[Container], others: int) -> SharedNetwork:
    """Return the network so that nobody else is given an address that a container's user chose.

    The next control plane gives out the lowest addresses first, one to each node and one to each container, and a
    container whose address is taken does not start. Where a chosen address is among the first `others`, all that is
    given out comes from the largest part of the subnet without a chosen one.
    """
    if len(network.pools) != 1 or network.pools[0].range:
        return network
    pool, subnet = network.pools[0], ipv4(network.pools[0].subnet)
    if subnet is None:
        return network
    chosen = {
        IPv4Address(one.address)
        for container in containers
        for one in container.attachments
        if one.network == network.name and one.fixed and one.address
    }
    if not any(int(address) - int(subnet.network_address) <= others for address in chosen):
        return network
    parts = (part for length in range(subnet.prefixlen + 1, 31) for part in subnet.subnets(new_prefix=length))
    free = next((part for part in parts if not any(address in part for address in chosen)), None)
    gateway = pool.gateway or str(subnet[1])
    return replace(network, pools=(replace(pool, gateway=gateway, range=str(free)),)) if free else network


def as_docker_tells(network: SharedNetwork) -> dict[str, Any]:
    """Return a recorded network as Docker's API will tell it. `Recorded` is not Docker's: it is not there yet."""
    pools = [{"Subnet": pool.subnet} for pool in network.pools]
    return {
        "Name": network.name,
        "Id": "",
        "Scope": "swarm",
        "Driver": "overlay",
        "IPAM": {"Config": pools},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
        "Recorded": True,
    }
