"""The managers of the swarm: whether they keep a majority while some become workers. Pure."""

from __future__ import annotations

from provision.core.membership import Member, Membership
from provision.core.situation import Situation
from provision.errors import Problem
from provision.planes.swarm import view


def blockers(situation: Situation) -> tuple[Problem, ...]:
    """Say where too few managers would be left if those that the inventory calls no members became workers."""
    workers = {view.daemon(situation.of(node)).identity for node in situation.cluster.nodes if not node.member}
    found = tuple(
        Member(one.identity, one.hostname, healthy=one.reachable) for one in view.listed(situation) if one.manager
    )
    staying = tuple(member for member in found if member.url not in workers)
    if len(staying) == len(found):
        return ()
    if not staying:
        what = "none of the managers that the swarm lists would stay one"
        return (Problem(what, "cluster", "keep one of them as a member until the others are managers"),)
    reason = Membership(found, staying).obstacle()
    if not reason:
        return ()
    advice = "bring back the managers that do not answer; fab status shows them"
    return (Problem(f"the managers cannot be changed like this: {reason}", "cluster", advice),)
