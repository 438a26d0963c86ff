"""The managers of the swarm: whether they keep a majority while some join and others become workers. Pure."""

from __future__ import annotations

from provision.core.membership import Member, Membership, majority
from provision.core.situation import Situation
from provision.errors import Problem
from provision.inventory.model import Node
from provision.planes.swarm import view


def membership(situation: Situation) -> Membership:
    """Return the managers that the swarm lists, and those wanted. A node that is new has its name for an identity."""
    found = tuple(
        Member(one.identity, one.hostname, healthy=one.answers) for one in view.listed(situation) if one.manager
    )
    members = situation.cluster.members
    wanted = tuple(Member(view.daemon(situation.of(node)).identity or node.name, node.name) for node in members)
    return Membership(found, wanted)


def blockers(situation: Situation) -> tuple[Problem, ...]:
    """Say where too few managers would answer after one of the changes, or none would stay."""
    there = membership(situation)
    if not there.unwanted:
        return ()
    if not set(there.voters) - set(there.unwanted):
        what = f"none of the managers that the swarm lists would stay one: {', '.join(map(str, there.voters))}"
        advice = "keep one of them in the inventory, with member: true, until the others are managers; then take it out"
        return (Problem(what, "cluster", advice),)
    reason = there.obstacle()
    if not reason:
        return ()
    advice = "bring back the managers that do not answer; fab status shows them"
    return (Problem(f"the managers cannot be changed like this: {reason}", "cluster", advice),)


def rank(situation: Situation, node: Node) -> int:
    """Return in which order nodes' daemons may be away, one at a time: workers, managers, and for one election the
    leader."""
    there = view.found(situation, node)
    return 0 if there is None else there.manager + there.leader


def cost_of_one(situation: Situation, node: Node) -> str:
    """Say what it means that a node is away for a moment; empty if the managers keep their majority."""
    there = view.found(situation, node)
    number = sum(one.manager for one in view.listed(situation))
    if there is None or not there.manager or number - 1 >= majority(number):
        return ""
    return "the managers have no majority meanwhile: no container can join a network, packets go on"
