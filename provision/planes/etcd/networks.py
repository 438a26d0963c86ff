"""The networks that hosts share, from Docker's keys in the store: a Docker that was upgraded does not know them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from provision.errors import StepFailed, Unanswered
from provision.planes.etcd.coordinator import EtcdCoordinator

#: The folder in the store of Docker's networks.
NETWORKS = "/docker/network/v1.0/network"
#: Where Docker keeps the options of a network's driver.
OPTIONS = "com.docker.network.generic"


def kept(coordinator: EtcdCoordinator) -> tuple[Mapping[str, Any], ...]:
    """Return the networks as Docker's API tells them, from the first member that answers.

    A member tells its own copy without a quorum, too. Unanswered if none does.
    """
    unanswered: Exception = Unanswered("the store has no members")
    for member in coordinator.cluster.members:
        try:
            found = coordinator.store(member).get(NETWORKS, quorum=False) or {}
        except (Unanswered, StepFailed) as error:
            unanswered = error
            continue
        values = (json.loads(entry["value"]) for entry in found.get("nodes", ()) if entry.get("value"))
        return told(values)
    raise Unanswered(str(unanswered)) from unanswered


def told(values: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the overlay networks as Docker's API tells them, from the values of networks in the store. Pure."""
    return tuple(as_docker_tells(value) for value in values if value.get("networkType") == "overlay")


def as_docker_tells(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a network as Docker's API tells it, from its value in the store. Pure."""
    return {
        "Name": value["name"],
        "Id": value["id"],
        "Scope": "global",
        "Driver": "overlay",
        "Internal": value.get("internal", False),
        "Labels": value.get("labels") or {},
        "Options": (value.get("generic") or {}).get(OPTIONS) or {},
        "EnableIPv6": value.get("enableIPv6", False),
        "IPAM": {"Driver": value.get("ipamType") or "default", "Config": list(_pools(value))},
    }


def _pools(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield each pool: the one that was asked for, or else the one that Docker has chosen."""
    asked = json.loads(value.get("ipamV4Config") or "[]")
    for number, info in enumerate(json.loads(value.get("ipamV4Info") or "[]")):
        chosen, wanted = json.loads(info["IPAMData"]), asked[number] if number < len(asked) else {}
        yield {
            "Subnet": wanted.get("PreferredPool") or chosen["Pool"],
            "Gateway": wanted.get("Gateway", ""),
            "IPRange": wanted.get("SubPool", ""),
            "AuxiliaryAddresses": wanted.get("AuxAddresses") or {},
        }
