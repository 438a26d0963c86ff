"""The networks of the cluster before a migration, from whatever still knows them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provision.core.situation import LABEL, Situation, is_shared
from provision.docker.containers import Container
from provision.inventory.model import Network
from provision.migration.record import Pool, SharedNetwork
from provision.network.subnets import LENGTH
from provision.phases.networks import MTU

#: The driver's options that a network keeps. It had its numbers (VNI) from the former control plane.
KEPT_OPTIONS = (MTU,)


def of_docker(network: Mapping[str, Any]) -> SharedNetwork:
    """Return a network from what Docker's API tells of it."""
    pools = (network.get("IPAM") or {}).get("Config") or ()
    options = network.get("Options") or {}
    return SharedNetwork(
        network["Name"],
        tuple(Pool(pool["Subnet"], pool.get("Gateway", ""), pool.get("IPRange", "")) for pool in pools),
        {name: options[name] for name in KEPT_OPTIONS if name in options},
        dict(network.get("Labels") or {}),
        bool(network.get("Internal")),
    )


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
    pool, subnet = network.pools[0], IPv4Network(network.pools[0].subnet)
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
