"""Who is a member of the store: bootstrapped together, or joined one by one as a learner that is then promoted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from provision.core.membership import majority
from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.planes.etcd import paths, ports
from provision.planes.etcd.local import local
from provision.planes.etcd.pki import CONTROLLER_DOCKER, Authority
from provision.templates import render

if TYPE_CHECKING:
    from provision.planes.etcd.coordinator import EtcdCoordinator


def peer_url(node: Node) -> str:
    """Return the URL on which the other members reach this one."""
    return f"https://{node.address}:{ports.PEER_PORT}"


def listed(facts: Facts) -> tuple[Mapping[str, Any], ...] | None:
    """Return the member list as this node's own member gave it, None where it gave none."""
    answer = facts.answers.get("members")
    return tuple(json.loads(answer).get("members", ())) if answer else None


def member_status(facts: Facts) -> Mapping[str, Any]:
    """Return what a node's own member says of itself: its leader, if it knows one, and its raft term."""
    answer = facts.answers.get("member-status")
    return dict(json.loads(answer)[0].get("Status", {})) if answer else {}


def known(situation: Situation) -> tuple[Mapping[str, Any], ...] | None:
    """Return the member list as a running member gave it, None where none runs."""
    return next((members for facts in situation.facts.values() if (members := listed(facts))), None)


def is_running(situation: Situation) -> bool:
    """Say whether a store was found at work: with a quorum."""
    return any(member_status(facts).get("leader") for facts in situation.facts.values())


def has_begun(situation: Situation) -> bool:
    """Say whether the store had a leader once, as far as is known: until its members have found each other no vote is
    taken, and none has come to a second term (etcd's --pre-vote)."""
    reports = [report for facts in situation.facts.values() if (report := member_status(facts))]
    terms = [report.get("raftTerm") for report in reports]
    return not terms or any(term is None or int(term) > 1 for term in terms)


def stays_at_work(situation: Situation) -> bool:
    """Say whether a store was found at work and can stay so while its members are changed one by one.

    Not where one trusts no valid authority of ours: those already changed and those not yet would refuse each other.
    """
    trusts = {paths.PEER_AUTHORITY: Authority.PEER, paths.CLIENT_AUTHORITY: Authority.CLIENT}
    return is_running(situation) and all(
        local(situation).identity.recognises(authority, (there.text or "").encode(), valid=True)
        for node in situation.cluster.members
        for path, authority in trusts.items()
        if (there := situation.of(node).paths.get(path))
    )


def is_lost(situation: Situation) -> bool:
    """Say whether a store was made here, or begun, and has no quorum: nobody knows what is in it."""
    made = any(paths.ETCD_BOOTSTRAP in facts.paths for facts in situation.facts.values())
    return made and not is_running(situation)


def networks_wait(situation: Situation) -> bool:
    """Say whether networks cannot be seen or made yet: without a quorum, or where Docker would not let us in."""
    return is_lost(situation) or not local(situation).identity.will_hold(CONTROLLER_DOCKER)


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say that the quorum is lost, what that means, and why as far as units tell."""
    if not is_lost(situation):
        return ()
    members = situation.cluster.members
    units = {node.name: situation.of(node).unit(paths.ETCD_UNIT) for node in members}
    down = [f"{name}: {unit.state}" for name, unit in units.items() if not unit.running]
    what = f"the store has no quorum: {majority(len(members))} of {len(members)} members have to find each other"
    meaning = "; until then no container can join a network, and networks cannot be seen"
    advice = f"see why they do not: {ports.PEER_PORT}/tcp between them, and journalctl -u {paths.ETCD_UNIT} on each"
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
        "etcd/bootstrap.env.j2",
        cluster=situation.cluster.name,
        node=node,
        initial_cluster=",".join(f"{member.name}={peer_url(member)}" for member in initial),
        state=state,
        peer_port=ports.PEER_PORT,
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
        file = facts.paths.get(paths.ETCD_BOOTSTRAP)
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
            advice=f"bring the store back first: systemctl status {paths.ETCD_UNIT} on "
            + ", ".join(member.name for member in before),
        )
        for node in situation.cluster.members
        if node not in before and paths.ETCD_BOOTSTRAP not in situation.of(node).paths
    )


def announce(coordinator: EtcdCoordinator, node: Node) -> None:
    """Add a node as a learner, unless an interrupted run did so already."""
    store = coordinator.store()
    if any(peer_url(node) in member.get("peerURLs", ()) for member in store.members()):
        return
    store.add_learner(peer_url(node))


def promote(coordinator: EtcdCoordinator, node: Node) -> None:
    """Make a learner that has caught up a voting member. StepFailed when it does not catch up in a minute."""
    store = coordinator.store()
    member = next(m for m in store.members() if peer_url(node) in m.get("peerURLs", ()))
    if member.get("isLearner"):
        store.promote(member["ID"], node.name)
