"""Nodes that leave the swarm: which they are, what stands in the way, and what stays behind on their hosts. Pure."""

from __future__ import annotations

from dataclasses import replace

from provision import layout
from provision.core.plane import Stage
from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.phases import departure
from provision.planes.swarm import view
from provision.planes.swarm.view import Listed


def is_in(facts: Facts) -> bool:
    """Say whether a host's daemon is in a swarm, or waits to be, or still runs as we have configured it."""
    return view.daemon(facts).state not in ("", "inactive") or bool(facts.unit(layout.DOCKER_UNIT).inputs)


def entries(situation: Situation) -> tuple[Listed, ...]:
    """Return the managers' entries that are to be struck off: of hosts that leave, and of former lives of nodes.

    The entry of a node whose daemon does not say which one it is stays.
    """
    nodes = situation.cluster.nodes
    ours = {view.daemon(situation.of(node)).identity for node in nodes}
    silent = {node.address for node in nodes if view.daemon(situation.of(node)).state not in ("active", "inactive")}
    return tuple(one for one in view.listed(situation) if one.identity not in ours and one.address not in silent)


def host(situation: Situation, entry: Listed) -> Node | None:
    """Return the host of the inventory that an entry is of, or was of; None if the inventory does not have it."""
    hosts = situation.cluster.hosts
    named = (one for one in hosts if view.daemon(situation.of(one)).identity == entry.identity)
    return next(named, None) or next((one for one in hosts if one.address == entry.address), None)


def lost(situation: Situation) -> tuple[Listed, ...]:
    """Return the entries of hosts that do not answer. An absent host that is in the swarm still leaves by itself."""
    leaving = {view.daemon(situation.of(one)).identity for one in departure.leaving(situation)}
    return tuple(one for one in entries(situation) if not one.answers and one.identity not in leaving)


def living(situation: Situation) -> tuple[Listed, ...]:
    """Return the other entries that are to be struck off."""
    gone = lost(situation)
    return tuple(one for one in entries(situation) if one not in gone)


def leader(situation: Situation) -> Listed | None:
    """Return the entry of the leader, if its host is to leave."""
    absent = {view.daemon(situation.of(one)).identity for one in departure.leaving(situation)}
    gone = absent | {one.identity for one in entries(situation)}
    return next((one for one in view.listed(situation) if one.leader and one.identity in gone), None)


def name(situation: Situation, entry: Listed) -> str:
    """Return the name by which a plan calls an entry: of a host in the inventory, that host's."""
    there = host(situation, entry)
    return there.name if there else f"{entry.hostname} {entry.identity[:12]}"


def addresses(situation: Situation) -> tuple[str, ...]:
    """Return the addresses of all that is to leave."""
    there = (*(one.address for one in entries(situation)), *(one.address for one in departure.leaving(situation)))
    return tuple(dict.fromkeys(filter(None, there)))


def stages(situation: Situation) -> tuple[Stage, ...]:
    """Return the stages of a run: in the first one, nodes leave."""
    return departure.stages(addresses(situation), without, "who has left is let in no more")


def without(situation: Situation) -> Situation:
    """Return the situation as it will be found when those that leave have left."""
    gone = {one.identity for one in entries(situation)}
    absent = {one.name for one in situation.cluster.absent}

    def changed(facts: Facts) -> Facts:
        answer = facts.docker.get(view.NODES)
        if not answer:
            return facts
        left = [one for one in answer if one["ID"] not in gone]
        return replace(facts, docker={**facts.docker, view.NODES: left})

    staying = {name: changed(facts) for name, facts in situation.facts.items() if name not in absent}
    return replace(situation, facts=staying)


def let_in(situation: Situation) -> tuple[str, ...]:
    """Return the addresses that the nodes let in beside their own: of hosts that leave, until they have left."""
    nodes = {node.address for node in situation.cluster.nodes}
    return tuple(one for one in dict.fromkeys((*situation.guests, *addresses(situation))) if one not in nodes)


def blockers(situation: Situation) -> tuple[Problem, ...]:
    """Say which hosts cannot leave, and which nodes are in the swarm at another address than the inventory's."""
    what = "Docker does not answer, so this host cannot leave the swarm"
    advice = "on it: systemctl start docker; or delete its entry: then it is removed, and the host stays as it is"
    mute = (one for one in departure.leaving(situation) if not situation.of(one).docker_answers)
    return (
        *(Problem(what, one.name, advice) for one in mute),
        *(problem for node in situation.cluster.nodes if (problem := _moved(situation, node))),
    )


def _moved(situation: Situation, node: Node) -> Problem | None:
    there = view.found(situation, node)
    if there is None or there.address in ("", node.address):
        return None
    what = f"in the swarm at {there.address}, and in the inventory at {node.address}"
    # Docker's gossip stays at the old address: its containers reach no other node.
    demote = f"on another manager: docker node demote {there.hostname}, and wait 15 s; " if there.manager else ""
    leave = "on this node: docker swarm leave, systemctl restart docker; then fab provision, which lets it join"
    return Problem(what, node.name, f"{demote}{leave}")


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say which hosts are as they were before, and what stays on those that the inventory does not have."""
    gone = [one for one in entries(situation) if host(situation, one) is None]
    if not gone:
        return departure.warnings(situation)
    names = ", ".join(f"{one.hostname} ({one.address})" for one in gone)
    what = f"{names}: leaves the swarm; what we put on that host stays there, and its containers go on without peers"
    advice = "with an inventory that has the host, state: absent puts it back; or on it: docker swarm leave --force"
    return (*departure.warnings(situation), Problem(what, "cluster", advice))
