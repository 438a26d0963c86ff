"""Who is a member of the store, as the store lists them and as the inventory wants them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from provision.core.membership import Member, Membership, majority
from provision.core.recovery import ADVICE
from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.planes.etcd import paths, ports
from provision.planes.etcd.local import local
from provision.planes.etcd.pki import CONTROLLER_DOCKER, Authority

#: The answers of a node's own member.
TOLD = ("members", "member-status", "endpoints")


def peer_url(node: Node) -> str:
    """Return the URL on which the other members reach this one."""
    return f"https://{node.address}:{ports.PEER_PORT}"


def listed(facts: Facts) -> tuple[Mapping[str, Any], ...] | None:
    """Return the member list as this node's own member gave it, None where it gave none."""
    answer = json.loads(facts.answers.get("members") or "null")
    return tuple(answer.get("members", ())) if answer else None


def member_status(facts: Facts) -> Mapping[str, Any]:
    """Return what a node's own member says of itself: its leader, if it knows one, and its raft term."""
    # A member that ends while it is asked gives an empty list.
    reports = json.loads(facts.answers.get("member-status") or "[]") or [{}]
    return dict(reports[0].get("Status", {}))


def minor(version: str) -> tuple[int, ...]:
    """Return major and minor number of a version: `3.5.30` is of 3.5. Empty where it is no version."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def store_version(situation: Situation) -> tuple[int, ...]:
    """Return the version that the whole store is at: the least of its members'. Empty where none runs."""
    reports = (member_status(facts) for facts in situation.facts.values())
    return min((minor(str(report["version"])) for report in reports if report.get("version")), default=())


def known(situation: Situation) -> tuple[Mapping[str, Any], ...] | None:
    """Return the member list of a member that knows a leader, or else of any that runs; None where none does."""
    answers = sorted(situation.facts.values(), key=lambda facts: not member_status(facts).get("leader"))
    return next((members for facts in answers if (members := listed(facts))), None)


def is_running(situation: Situation) -> bool:
    """Say whether a store was found at work: with a quorum."""
    return any(member_status(facts).get("leader") for facts in situation.facts.values())


def without_data(situation: Situation) -> tuple[Node, ...]:
    """Return the members that have run and have none of their data: on a new machine, or where it was lost.

    One that never told the store where clients reach it has not run, and begins with nothing. etcd goes by that, too.
    """
    listed = known(situation) or ()
    ran = {url for one in listed if one.get("clientURLs") for url in one.get("peerURLs", ())}
    return tuple(node for node in with_log(situation, "no") if peer_url(node) in ran)


def with_log(situation: Situation, answer: str) -> tuple[Node, ...]:
    """Return the members that answered `yes`, or `no`, to whether they have a log of the store."""
    members = situation.cluster.members
    return tuple(node for node in members if situation.of(node).answers.get("store-log", "").strip() == answer)


def replaced(situation: Situation) -> tuple[Node, ...]:
    """Return the members without data that go and join anew: the others have a quorum, and their own etcd is silent."""
    empty = without_data(situation) if is_running(situation) else ()
    return tuple(node for node in empty if not member_status(situation.of(node)))


def stays_at_work(situation: Situation) -> bool:
    """Say whether a store was found at work and can stay so while its members are changed one by one.

    Not where one trusts no valid authority of ours: those already changed and those not yet would refuse each other.
    One that joins gets ours before it starts.
    """
    newcomers = joining(situation)
    trusts = {paths.PEER_AUTHORITY: Authority.PEER, paths.CLIENT_AUTHORITY: Authority.CLIENT}
    return is_running(situation) and all(
        local(situation).identity.recognises(authority, (there.text or "").encode(), valid=True)
        for node in situation.cluster.members
        if node not in newcomers
        for path, authority in trusts.items()
        if (there := situation.of(node).paths.get(path))
    )


def is_lost(situation: Situation) -> bool:
    """Say whether a store was made here, or begun, and has no quorum: nobody knows what is in it."""
    made = any(paths.ETCD_BOOTSTRAP in facts.paths for facts in situation.facts.values())
    return made and not is_running(situation)


def networks_wait(situation: Situation) -> bool:
    """Say whether networks cannot be seen or made yet: without a quorum, before members that leave have left, or where
    Docker would not let us in."""
    will_open = local(situation).identity.will_hold(CONTROLLER_DOCKER)
    return is_lost(situation) or bool(situation.guests) or not will_open


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say that the quorum is lost, what that means, and why as far as units tell."""
    if not is_lost(situation):
        return ()
    members = situation.cluster.members
    answering = (node for node in members if node.name in situation.facts)
    units = {node.name: situation.of(node).unit(paths.ETCD_UNIT) for node in answering}
    down = [f"{name}: {unit.state}" for name, unit in units.items() if not unit.running]
    number = len(known(situation) or members)
    what = f"the store has no quorum: {majority(number)} of {number} members have to find each other"
    meaning = "; until then no container can join a network, and networks cannot be seen"
    advice = (
        f"see why they do not: {ports.PEER_PORT}/tcp between them, and journalctl -u {paths.ETCD_UNIT} on each; "
        + ADVICE
    )
    if down:
        advice = "provision starts etcd where it does not run; networks are planned when the quorum is back"
    why = f" (etcd on {', '.join(down)})" if down else ""
    return (Problem(what + meaning + why, "cluster", advice),)


def cost_of_one(situation: Situation) -> str:
    """Say what it means that one member is away for a moment."""
    members = len(situation.cluster.members)
    others = members - 1
    if others >= majority(members):
        return f"the other {others} members keep the quorum"
    return "no quorum for about 2 s: no container can join a network meanwhile"


def membership(situation: Situation) -> Membership:
    """Return the members that the store lists, and those that the inventory wants; none found where none answers."""
    wanted = tuple(Member(peer_url(node), node.name) for node in situation.cluster.members)
    return Membership(tuple(_member(situation, one) for one in known(situation) or ()), wanted)


def _member(situation: Situation, one: Mapping[str, Any]) -> Member:
    """Return a member of the list. One of the inventory is brought up before anything else changes, if it can be."""
    url = next(iter(one.get("peerURLs", ())), "")
    wanted = any(peer_url(node) == url for node in situation.cluster.members)
    anew = any(peer_url(node) == url for node in replaced(situation))
    healthy = not anew and (wanted or not healthy_urls(situation).isdisjoint(one.get("clientURLs", ())))
    votes = bool(one.get("name")) and not one.get("isLearner")
    return Member(url, one.get("name", ""), votes, healthy, anew, url in moved(situation))


def moved(situation: Situation) -> Mapping[str, Node]:
    """Return the nodes whose etcd was configured for another address than the inventory's, by the peer URL there."""
    found = {}
    for node in situation.cluster.members:
        file = situation.of(node).paths.get(paths.ETCD_ENVIRONMENT)
        match = re.search(r"(?m)^ETCD_LISTEN_PEER_URLS=(\S+)$", (file and file.text) or "")
        if match and match[1] != peer_url(node):
            found[match[1]] = node
    return found


def healthy_urls(situation: Situation) -> frozenset[str]:
    """Return the client URLs of those members, unknown to the inventory, that answered through the quorum."""
    return frozenset(url for facts in situation.facts.values() for url in facts.answers.get("healthy", "").split())


def client_urls(situation: Situation) -> tuple[str, ...]:
    """Return the client URLs of the members that the store lists and the inventory does not want."""
    unwanted = {member.url for member in membership(situation).unwanted}
    return tuple(
        url
        for one in known(situation) or ()
        if not unwanted.isdisjoint(one.get("peerURLs", ()))
        for url in one.get("clientURLs", ())
    )


def joining(situation: Situation) -> tuple[Node, ...]:
    """Return the nodes that are to be members of the running store and are not, or not yet wholly."""
    if known(situation) is None:
        return ()
    there = membership(situation)
    urls = {member.url for member in there.joining}
    # One that was announced already goes first: etcd takes one learner at a time.
    announced = {member.url for member in there.found if not member.replaced}
    newcomers = (node for node in situation.cluster.members if peer_url(node) in urls)
    return tuple(sorted(newcomers, key=lambda node: peer_url(node) not in announced))
