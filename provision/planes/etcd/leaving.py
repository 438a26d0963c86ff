"""Members that leave: in which stages, what stands in the way, and what stays behind on their hosts. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from provision.core.membership import Member, spare
from provision.core.plane import Stage
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.phases import departure
from provision.planes.etcd import bootstrap, paths, pki
from provision.planes.etcd.local import local
from provision.planes.etcd.membership import is_lost, is_running, known, listed, membership, moved, peer_url, replaced
from provision.recovery import generations


def address(member: Member) -> str:
    """Return the address of a member's peer URL."""
    return urlsplit(member.url).hostname or ""


def unwanted(situation: Situation) -> tuple[Member, ...]:
    """Return the members that are to leave; none where the store has no quorum, for nobody can leave then."""
    return membership(situation).unwanted if is_running(situation) else ()


def stages(situation: Situation) -> tuple[Stage, ...]:
    """Return the stages of a run: in the first one, members leave."""
    title = "who has left is let in no more, who stays as a node puts its store away, and Docker takes up new nodes"
    return departure.stages(leavers(situation), lambda now: without(now, unwanted(now)), title)


def leavers(situation: Situation) -> tuple[str, ...]:
    """Return the addresses of members that are to leave, and of absent hosts that still hold something of ours."""
    hosts = (host.address for host in departure.leaving(situation))
    return tuple(dict.fromkeys((*map(address, unwanted(situation)), *hosts)))


def let_in(situation: Situation) -> tuple[str, ...]:
    """Return the addresses that the nodes let in beside their own: of hosts that leave, until they have left."""
    nodes = {node.address for node in situation.cluster.nodes}
    hosts = (host.address for host in departure.leaving(situation))
    leaving = dict.fromkeys((*situation.guests, *map(address, membership(situation).unwanted), *hosts))
    return tuple(one for one in leaving if one not in nodes)


def without(situation: Situation, members: tuple[Member, ...]) -> Situation:
    """Return the situation as it will be found when these members, and the absent hosts, have left."""
    urls = {member.url for member in members}

    def changed(facts: Facts) -> Facts:
        there = listed(facts)
        if there is None:
            return facts
        left = [one for one in there if urls.isdisjoint(one.get("peerURLs", ()))]
        return replace(facts, answers={**facts.answers, "members": json.dumps({"members": left})})

    absent = {host.name for host in situation.cluster.absent}
    staying = {name: changed(facts) for name, facts in situation.facts.items() if name not in absent}
    return replace(situation, facts=staying)


def blockers(situation: Situation) -> tuple[Problem, ...]:
    """Say which members can neither bootstrap nor join, and why no order of changes keeps a majority."""
    if hindrances := bootstrap.stranded(situation) or _cut_off(situation):
        return hindrances
    if is_lost(situation) and (absent := departure.leaving(situation)):
        what = f"{', '.join(host.name for host in absent)} cannot leave: the store has no quorum"
        return (Problem(what, "cluster", "let fab provision bring the store back first, without `state: absent`"),)
    there = membership(situation)
    voters = ", ".join(map(str, there.voters))
    if is_running(situation) and not set(there.voters) - {*there.unwanted, *there.replaced}:
        what = f"none of the members that the store lists would stay: {voters}"
        advice = "keep one of them in the inventory, with member: true, until the others vote; then take it out"
        return (Problem(what, "cluster", advice),)
    reason = there.obstacle() if is_running(situation) else ""
    if not reason:
        return ()
    advice = (
        f"the store lists {voters}: bring the members back that do not answer, or leave those in the inventory "
        "that do; fab status shows them"
    )
    return (Problem(f"the members cannot be changed like this: {reason}", "cluster", advice),)


def _cut_off(situation: Situation) -> tuple[Problem, ...]:
    """Return the members that have lost the address at which the others know them, if these are no majority alone."""
    gone = {
        host: node
        for url, node in moved(situation).items()
        if (host := urlsplit(url).hostname or "") not in situation.of(node).mtus
    }
    number = len(known(situation) or situation.cluster.members)
    if spare(number, number - len(gone)) >= 0:
        return ()
    what = "the store knows its member at {}, which the host no longer has, and without it there is no majority"
    advice = (
        "give it that address as well until fab provision is done: ip address add {}/32 dev INTERFACE, on this host"
    )
    return tuple(Problem(what.format(old), node.name, advice.format(old)) for old, node in gone.items())


def refuse_replaced(situation: Situation, advice: str) -> None:
    """Say which members have none of their data: they cannot take part in what is wanted. PreflightRefused."""
    if names := ", ".join(node.name for node in replaced(situation)):
        raise PreflightRefused(Problem(f"members have none of their data: {names}", "cluster", advice))


def joins_anew(situation: Situation, node: Node) -> bool:
    """Say whether a node begins as a member of the running store: with nothing, or with what a removed member left.

    One that the store lists without a name was announced, perhaps by a run that was killed then, and has not begun.
    """
    if not is_running(situation) or not node.member:
        return False
    if node in replaced(situation):
        return True
    listed_as = [one.get("name", "") for one in known(situation) or () if peer_url(node) in one.get("peerURLs", ())]
    return not listed_as or (listed_as == [""] and not situation.of(node).unit(paths.ETCD_UNIT).running)


def is_removed(situation: Situation, node: Node) -> bool:
    """Say whether a node that joins has the data of a member that was removed: its etcd ends at once with it."""
    return _has_data(situation, node) and joins_anew(situation, node)


def is_given_up(situation: Situation, node: Node) -> bool:
    """Say whether a node has the data of a member that was given up in a recovery, and is none by now."""
    is_none = joins_anew(situation, node) or is_put_away(situation, node)
    away = generations.lines(situation.of(node)) != generations.all_lines(situation)
    return _has_data(situation, node) and is_none and away


def _has_data(situation: Situation, node: Node) -> bool:
    facts = situation.of(node)
    return paths.ETCD_BOOTSTRAP in facts.paths and bool(facts.answers.get("store-data"))


def is_put_away(situation: Situation, node: Node) -> bool:
    """Say whether a node that is no member shall hold nothing of the store: it has left, or was never one."""
    urls = {member.url for member in membership(situation).found}
    return not node.member and not situation.guests and is_running(situation) and peer_url(node) not in urls


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say which entries may go, what stays on the hosts of members that leave, and until when it opens doors."""
    return (*departure.warnings(situation), *_stays_behind(situation))


def _stays_behind(situation: Situation) -> tuple[Problem, ...]:
    hosts = {host.address for host in situation.cluster.hosts}
    gone = [member for member in unwanted(situation) if address(member) not in hosts]
    if not gone:
        return ()
    names = ", ".join(f"{member} ({address(member)})" for member in gone)
    ends = _ends(situation)
    until = f" until {max(ends.values()):%Y-%m-%d}" if ends else ""
    advice = (
        "fab reset --only NAME, with an inventory that still names the host, puts it back; its certificates open the "
        f"store{until}, and fab certs --rotate --authority ends that"
    )
    what = (
        f"{names}: leaves the store; what we put on that host stays there, and its dockerd goes on through the others"
    )
    return (Problem(what, "cluster", advice),)


def _ends(situation: Situation) -> Mapping[str, datetime]:
    """Return when the leaves end that open the store."""
    kept = local(situation).identity.kept
    return {one.what: one.end for one in kept if one.what.startswith(f"leaf {pki.Authority.CLIENT}/")}
