"""Who is a member of the store: bootstrapped together, or joined one by one as a learner that is then promoted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from provision import layout
from provision.errors import PreflightRefused, Problem
from provision.inventory.model import Node
from provision.pki import CONTROLLER_DOCKER, Authority
from provision.situation import Situation
from provision.templates import render

if TYPE_CHECKING:
    from provision.api import Clients


def peer_url(node: Node) -> str:
    """Return the URL on which the other members reach this one."""
    return f"https://{node.address}:{layout.PEER_PORT}"


def known(situation: Situation) -> tuple[Mapping[str, Any], ...] | None:
    """Return the member list as a running member gave it, None where none runs."""
    return next((facts.members for facts in situation.facts.values() if facts.members), None)


def is_running(situation: Situation) -> bool:
    """Say whether a store was found at work: with a quorum."""
    return any(facts.store_status.get("leader") for facts in situation.facts.values())


def has_begun(situation: Situation) -> bool:
    """Say whether the store had a leader once, as far as is known: until its members have found each other no vote is
    taken, and none has come to a second term (etcd's --pre-vote)."""
    terms = [facts.store_status.get("raftTerm") for facts in situation.facts.values() if facts.store_status]
    return not terms or any(term is None or int(term) > 1 for term in terms)


def stays_at_work(situation: Situation) -> bool:
    """Say whether a store was found at work and can stay so while its members are changed one by one.

    Not where one trusts no valid authority of ours: those already changed and those not yet would refuse each other.
    """
    trusts = {layout.PEER_AUTHORITY: Authority.PEER, layout.CLIENT_AUTHORITY: Authority.CLIENT}
    return is_running(situation) and all(
        situation.identity.recognises(authority, (there.text or "").encode(), valid=True)
        for node in situation.cluster.members
        for path, authority in trusts.items()
        if (there := situation.of(node).paths.get(path))
    )


def is_lost(situation: Situation) -> bool:
    """Say whether a store was made here, or begun, and has no quorum: nobody knows what is in it."""
    made = any(layout.ETCD_BOOTSTRAP in facts.paths for facts in situation.facts.values())
    return made and not is_running(situation)


def networks_wait(situation: Situation) -> bool:
    """Say whether networks cannot be seen or made yet: without a quorum, or where Docker would not let us in."""
    return is_lost(situation) or not situation.identity.will_hold(CONTROLLER_DOCKER)


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say that the quorum is lost, what that means, and why as far as units tell."""
    if not is_lost(situation):
        return ()
    members = situation.cluster.members
    units = {node.name: situation.of(node).unit(layout.ETCD_UNIT) for node in members}
    down = [f"{name}: {unit.state}" for name, unit in units.items() if not unit.running]
    what = f"the store has no quorum: {len(members) // 2 + 1} of {len(members)} members have to find each other"
    meaning = "; until then no container can join a network, and networks cannot be seen"
    advice = f"see why they do not: {layout.PEER_PORT}/tcp between them, and journalctl -u {layout.ETCD_UNIT} on each"
    if down:
        advice = "provision starts etcd where it does not run; networks are planned when the quorum is back"
    why = f" (etcd on {', '.join(down)})" if down else ""
    return (Problem(what + meaning + why, "cluster", advice),)


def cost_of_one(situation: Situation) -> str:
    """Say what it means that one member is away for a moment."""
    members = len(situation.cluster.members)
    others = members - 1
    if others >= members // 2 + 1:
        return f"the other {others} members keep the quorum"
    return "no quorum for about 2 s: no container can join a network meanwhile"


def joining(situation: Situation) -> tuple[Node, ...]:
    """Return the nodes that are to be members of the running store and are not, or not yet wholly."""
    members = known(situation)
    if members is None:
        return ()
    voting = {url for m in members if m.get("name") and not m.get("isLearner") for url in m.get("peerURLs", ())}
    return tuple(node for node in situation.cluster.members if peer_url(node) not in voting)


def bootstrap_file(situation: Situation, node: Node) -> bytes:
    """Return what a member reads when its data folder is empty. PreflightRefused where that cannot be known."""
    initial, state = _initial(situation, node)
    return render(
        "bootstrap.env.j2",
        cluster=situation.cluster.name,
        node=node,
        initial_cluster=",".join(f"{member.name}={peer_url(member)}" for member in initial),
        state=state,
        peer_port=layout.PEER_PORT,
    )


def _initial(situation: Situation, node: Node) -> tuple[tuple[Node, ...], str]:
    members = situation.cluster.members
    newcomers = joining(situation)
    if node in newcomers:
        before = newcomers[: newcomers.index(node) + 1]
        return tuple(m for m in members if m not in newcomers or m in before), "existing"
    return _bootstrapped(situation) or members, "new"


def _bootstrapped(situation: Situation) -> tuple[Node, ...] | None:
    """Return the members that an earlier, perhaps interrupted, bootstrap named."""
    for facts in situation.facts.values():
        file = facts.paths.get(layout.ETCD_BOOTSTRAP)
        text = (file and file.text) or ""
        if "ETCD_INITIAL_CLUSTER_STATE=new" in text:
            names = set(re.findall(r"(?:[=,])([^=,\s]+)=https://", text))
            return tuple(node for node in situation.cluster.nodes if node.name in names)
    return None


def stranded(situation: Situation) -> tuple[Problem, ...]:
    """Return members that can neither bootstrap nor join: the store exists, and has no quorum."""
    before = _bootstrapped(situation)
    if before is None or is_running(situation):
        return ()
    return tuple(
        Problem(
            f"{node.name} is to join the store, but that has no quorum",
            where=node.name,
            advice=f"bring the store back first: systemctl status {layout.ETCD_UNIT} on "
            + ", ".join(member.name for member in before),
        )
        for node in situation.cluster.members
        if node not in before and layout.ETCD_BOOTSTRAP not in situation.of(node).paths
    )


def announce(clients: Clients, node: Node) -> None:
    """Add a node as a learner, unless an interrupted run did so already."""
    store = clients.store()
    if any(peer_url(node) in member.get("peerURLs", ()) for member in store.members()):
        return
    store.add_learner(peer_url(node))


def promote(clients: Clients, node: Node) -> None:
    """Make a learner that has caught up a voting member. StepFailed when it does not catch up in a minute."""
    store = clients.store()
    member = next(m for m in store.members() if peer_url(node) in m.get("peerURLs", ()))
    if member.get("isLearner"):
        store.promote(member["ID"], node.name)


def refuse_stranded(situation: Situation) -> None:
    """Raise PreflightRefused for `stranded` members."""
    if problems := stranded(situation):
        raise PreflightRefused(*problems)
