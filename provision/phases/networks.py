"""The overlay networks, created once for the whole cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.situation import LABEL, Situation
from provision.docker.client import retry
from provision.errors import Problem, StepFailed
from provision.inventory.model import Network
from provision.network import underlay
from provision.network.subnets import assigned, subnets_of
from provision.resources import KEEPER

if TYPE_CHECKING:
    from docker import DockerClient

    from provision.core.plane import Coordinator

#: The driver's option for the MTU below the overlay, in bytes; 1500 by default.
MTU = "com.docker.network.driver.mtu"
#: The driver's option for encryption. It is set if it is there, whatever its value.
ENCRYPTED = "encrypted"


#: What the plan says of a network that it removes.
NOT_WANTED = "not in the inventory"


class Networks(Phase):
    """A network is created through one node's Docker. The control plane announces it to the others."""

    name = "overlay"

    def __init__(self, wait: Callable[[Situation], bool]) -> None:
        """`wait` returns whether networks are left out of the plan, because they cannot be seen or created yet."""
        self._wait = wait

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the networks to remove, because the inventory no longer has them, then those to create, and those to
        replace, whose subnet or MTU differs.

        None if networks cannot be seen: `provision` looks again when the quorum is back. None is removed before hosts
        that leave have left, for their containers may be on it.
        """
        if self._wait(situation):
            return ()
        there = situation.networks
        dropped = () if situation.guests else situation.dropped
        changes = (_change(self.name, wanted, there.get(wanted.name)) for wanted in _wanted(situation))
        return (
            *(Change(CLUSTER, self.name, f"network {name}", "remove", note=NOT_WANTED) for name in dropped),
            *(change for change in changes if change),
        )

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Create or remove the network. A network to replace is removed first."""
        name = change.resource.removeprefix("network ")
        if change.action in ("replace", "remove"):
            for node in situation.cluster.nodes:
                look = partial(_refuse_users, coordinator.docker(node), name, node.name)
                retry(look, f"Docker lists the containers on {name}", node.name)
            for node in situation.cluster.nodes:
                remove = partial(_remove_keepers, coordinator.docker(node), name)
                retry(remove, f"Docker removes the keepers of {name}", node.name)
        maker = coordinator.makers[0]
        if change.action == "remove":
            retry(partial(_remove, coordinator.docker(maker), name), f"Docker removes the network {name}", maker.name)
            return
        network = next(wanted for wanted in _wanted(situation) if wanted.name == name)
        docker = coordinator.docker(maker)

        def make() -> None:
            there = [one for one in docker.networks.list(names=[network.name]) if one.name == network.name]
            if change.action == "replace":
                there = [one for one in there if not _differences(network, one.attrs) or one.remove()]
            if not there:
                docker.networks.create(
                    network.name,
                    "overlay",
                    check_duplicate=True,
                    attachable=True,  # in swarm mode: containers join by themselves
                    labels={LABEL: situation.cluster.name},
                    ipam=_ipam(network),
                    options=network.options,
                )

        # A call may fail on a thread in a namespace that is gone (phases/keepers.py). The next call gets another one.
        retry(make, f"Docker makes the network {network.name}", maker.name)


@dataclass(frozen=True)
class _Wanted:
    """A wanted network. `chosen`: the inventory does not name its subnet. `mtu`: the underlay's, in bytes."""

    name: str
    subnet: IPv4Network
    chosen: bool
    mtu: int
    encrypted: bool

    @property
    def options(self) -> dict[str, str]:
        """The driver's options. The driver subtracts VXLAN's and IPsec's headers from the MTU by itself."""
        size = {MTU: str(self.mtu)} if self.mtu != underlay.USUAL else {}
        return size | ({ENCRYPTED: ""} if self.encrypted else {})


def _wanted(situation: Situation) -> tuple[_Wanted, ...]:
    there, subnets, most = situation.networks, assigned(situation), underlay.mtu(situation)

    def mtu(name: str) -> int:
        # A network keeps its MTU if the links carry more today: a larger one is not worth recreating the network.
        found = _mtu(there[name]) if name in there and not situation.cluster.mtu else most
        return min(found, most)

    return tuple(
        _Wanted(one.name, subnets[one.name], one.subnet is None, mtu(one.name), one.encrypted)
        for one in situation.cluster.networks
    )


def _refuse_users(docker: DockerClient, network: str, where: str) -> None:
    """Raise StepFailed, before any keeper is removed, if Docker lists a container that is not ours on a network.

    Preflight has looked at the nodes. A container may have come since then, or be on a host that is no node.
    """
    for identity in [one["Id"] for one in docker.api.networks(names=[network]) if one["Name"] == network]:
        on_it = (docker.api.inspect_network(identity).get("Containers") or {}).items()
        # Docker lists an endpoint of its own too, for the load balancer of a swarm's services.
        others = {one["Name"] for key, one in on_it if not key.startswith("lb-") and not one["Name"].startswith(KEEPER)}
        if names := ", ".join(sorted(others)):
            what = f"network {network} is in use by {names}, and was left as it is"
            advice = f"remove these containers, or disconnect them: docker network disconnect {network} CONTAINER"
            raise StepFailed(Problem(what, where, advice))


def _remove_keepers(docker: DockerClient, network: str) -> None:
    # One that is gone may still be listed.
    for keeper in docker.containers.list(all=True, filters={"label": f"{KEEPER}={network}"}, ignore_removed=True):
        keeper.remove(force=True)


def _remove(docker: DockerClient, network: str) -> None:
    for one in docker.networks.list(names=[network]):
        if one.name == network:
            one.remove()


def changed_networks(situation: Situation) -> tuple[Network, ...]:
    """Return the networks that have to be created or recreated."""
    there = situation.networks
    changed = {wanted.name for wanted in _wanted(situation) if _change("", wanted, there.get(wanted.name))}
    return tuple(network for network in situation.cluster.networks if network.name in changed)


def _ipam(network: _Wanted) -> Any:
    from docker.types import IPAMConfig, IPAMPool

    return IPAMConfig(pool_configs=[IPAMPool(subnet=str(network.subnet))])


def _mtu(network: Mapping[str, Any]) -> int:
    said = str((network.get("Options") or {}).get(MTU, ""))
    return int(said) if said.isdigit() else underlay.USUAL


def _change(phase: str, wanted: _Wanted, there: Mapping[str, Any] | None) -> Change | None:
    resource = f"network {wanted.name}"
    if there is None:
        chosen = " (chosen)" if wanted.chosen else ""
        secret = ", encrypted" if wanted.encrypted else ""
        size = f", MTU {_inside(wanted.mtu, wanted.encrypted)} in containers" if wanted.options else ""
        return Change(CLUSTER, phase, resource, "create", note=f"overlay, {wanted.subnet}{chosen}{secret}{size}")
    differences = _differences(wanted, there)
    return Change(CLUSTER, phase, resource, "replace", note="; ".join(differences)) if differences else None


def _differences(wanted: _Wanted, there: Mapping[str, Any]) -> list[str]:
    subnets, mtu, encrypted = subnets_of(there), _mtu(there), ENCRYPTED in (there.get("Options") or {})
    inside, wanted_inside = _inside(mtu, encrypted), _inside(wanted.mtu, wanted.encrypted)
    said = {True: "encrypted", False: "not encrypted"}
    found = ", ".join(map(str, subnets)) or "no subnet"
    return [
        *([f"{found} → {wanted.subnet}"] if subnets != (wanted.subnet,) else ()),
        *([f"{said[encrypted]} → {said[wanted.encrypted]}"] if encrypted != wanted.encrypted else ()),
        *([f"MTU in containers {inside} → {wanted_inside}"] if mtu != wanted.mtu else ()),
    ]


def _inside(mtu: int, encrypted: bool) -> int:
    return mtu - underlay.VXLAN - (underlay.ESP if encrypted else 0)
