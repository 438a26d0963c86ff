"""The swarm's nodes: they are listed, they are led, and their daemons' gossip knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from provision.checks.proof import Proof
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node
from provision.planes.swarm import view
from provision.planes.swarm.coordinator import GOSSIP_SECONDS, opened
from provision.waiting import wait_for


def _own(proof: Proof, node: Node) -> dict[str, Any]:
    swarm: dict[str, Any] = proof.coordinator.docker(node).info()["Swarm"]
    return swarm


@check("swarm", quick=True)
def nodes_are_ready(proof: Proof) -> Iterator[Outcome]:
    """The managers list every node as ready, in the role that the inventory gives it, and no other node."""
    nodes = opened(proof.coordinator).manager().api.nodes
    identities = {node: _own(proof, node)["NodeID"] for node in proof.cluster.nodes}
    ours = set(identities.values())
    # A new leader does not know a node's state before the node has reported to it.
    wait_for(lambda: all(view.is_ready(one) for one in nodes() if one["ID"] in ours), GOSSIP_SECONDS)
    listed = {one["ID"]: one for one in nodes()}
    for node, identity in identities.items():
        there = listed.pop(identity, None)
        role = "manager" if node.member else "worker"
        if there is None:
            yield failed(node.name, "the managers do not list it", "fab plan")
        elif (there["Status"]["State"], there["Spec"]["Role"]) == ("ready", role):
            yield passed(node.name, f"ready, a {role}")
        else:
            said = f"{there['Status']['State']}, a {there['Spec']['Role']}"
            yield failed(node.name, f"{said}; the inventory says {role}", "fab plan; docker node ls on a manager")
    for one in listed.values():
        name = one["Description"].get("Hostname", one["ID"])
        yield failed("cluster", f"{name} is in the swarm, and not in the inventory", f"docker node rm {one['ID']}")


@check("swarm", quick=True)
def one_leader(proof: Proof) -> Iterator[Outcome]:
    """Every manager names the same leader: without one leader no container can join a network."""
    names = {_own(proof, node)["NodeID"]: node.name for node in proof.cluster.nodes}
    leaders = {}
    for node in proof.cluster.members:
        leaders[node.name] = leading(_managers(proof, node))
    if len({tuple(found) for found in leaders.values()}) == 1 and all(leaders.values()):
        leader = next(iter(leaders.values()))[0]
        yield passed("cluster", f"all {len(leaders)} managers name {names.get(leader, leader)}")
    else:
        told = {name: " ".join(names.get(one, one) for one in found) for name, found in leaders.items()}
        said = ", ".join(f"{name}: {leader or 'nobody'}" for name, leader in told.items())
        yield failed("cluster", f"managers name different leaders: {said}", "docker node ls on each manager")


def leading(managers: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the IDs of the leaders: several nodes may have the same hostname.

    A manager that is just becoming a worker is listed without its status.
    """
    return [one["ID"] for one in managers if (one.get("ManagerStatus") or {}).get("Leader")]


@check("swarm", quick=True)
def write_is_read_elsewhere(proof: Proof) -> Iterator[Outcome]:
    """An object made at one manager is read at every other: the managers agree."""
    first, *others = proof.cluster.members
    api = proof.coordinator.docker(first).api
    made = api.create_config(f"overlay-provision-{proof.run}", b"proof")["ID"]
    try:
        for node in others:
            if wait_for(partial(_reads, proof, node, made), GOSSIP_SECONDS):
                yield passed(node.name, f"reads what {first.name} has written")
            else:
                yield failed(node.name, f"does not have what {first.name} has written", "docker node ls there")
        if not others:
            yield passed(first.name, "has written, as the only manager")
    finally:
        api.remove_config(made)


@check("swarm", quick=True)
def gossip_knows_every_node(proof: Proof) -> Iterator[Outcome]:
    """Each daemon's gossip knows every node on each network: else names and new addresses do not come across."""
    door, nodes = opened(proof.coordinator), proof.cluster.nodes
    for network in proof.cluster.networks:
        for node in nodes:
            missing = partial(door.missing_peers, node, network.name, nodes)
            if wait_for(partial(_is_empty, missing), GOSSIP_SECONDS):
                yield passed(node.name, f"{network.name}: knows all {len(nodes)} nodes")
                continue
            names = ", ".join(one.name for one in missing())
            advice = "it mends itself within a minute; else systemctl restart docker on this node"
            yield failed(node.name, f"{network.name}: does not know {names}", advice)


def _is_empty(missing: Callable[[], tuple[Node, ...]]) -> bool:
    return not missing()


def _managers(proof: Proof, node: Node) -> list[dict[str, Any]]:
    """Return the managers that a manager lists; none if it has no leader to ask."""
    from docker.errors import APIError

    try:
        found: list[dict[str, Any]] = proof.coordinator.docker(node).api.nodes(filters={"role": "manager"})
    except APIError:
        return []
    return found


def _reads(proof: Proof, node: Node, identity: str) -> bool:
    from docker.errors import APIError

    try:
        return bool(proof.coordinator.docker(node).api.inspect_config(identity))
    except APIError:  # not there, or the manager has no leader to ask
        return False
