"""How a member begins: all of a new store together, or one more in a store at work. Pure."""

from __future__ import annotations

import re

from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.planes.etcd import paths, ports
from provision.planes.etcd.local import local
from provision.planes.etcd.membership import is_lost, joining, membership, peer_url
from provision.templates import render


def bootstrap_file(situation: Situation, node: Node) -> bytes:
    """Return what a member reads when its data folder is empty. PreflightRefused where that cannot be known."""
    initial, state = _initial(situation, node)
    return render(
        "etcd/bootstrap.env.j2",
        token=token(situation),
        node=node,
        initial_cluster=",".join(f"{name}={url}" for name, url in initial),
        state=state,
        peer_port=ports.PEER_PORT,
    )


def _initial(situation: Situation, node: Node) -> tuple[tuple[tuple[str, str], ...], str]:
    """Return names and peer URLs of the members that the node finds, and whether the store exists by then."""
    members = situation.cluster.members
    newcomers = joining(situation)
    if node not in newcomers:
        return tuple((one.name, peer_url(one)) for one in _bootstrapped(situation) or members), "new"
    before = newcomers[: newcomers.index(node) + 1]
    there = [(one.name, peer_url(one)) for one in members if one not in newcomers or one in before]
    # etcd compares the URLs. A name that is there twice would be one member with two URLs.
    leaving = [(f"leaving-{number}", member.url) for number, member in enumerate(membership(situation).leaving, 1)]
    return (*there, *leaving), "existing"


def token(situation: Situation) -> str:
    """Return the token of a bootstrap: that of one that was begun, or else a new one.

    A store that is made anew under the old token has the old IDs, and an old member that comes back is let in with its
    old data, in silence.
    """
    begun = (_begun(facts) for facts in situation.facts.values())
    found = (re.search(r"(?m)^ETCD_INITIAL_CLUSTER_TOKEN=(\S+)$", text) for text in begun)
    return next((match[1] for match in found if match), local(situation).token)


def _begun(facts: Facts) -> str:
    """Return a node's file of a bootstrap, empty where there is none."""
    file = facts.paths.get(paths.ETCD_BOOTSTRAP)
    text = (file and file.text) or ""
    return text if "ETCD_INITIAL_CLUSTER_STATE=new" in text else ""


def _bootstrapped(situation: Situation) -> tuple[Node, ...] | None:
    """Return the members that an earlier, perhaps interrupted, bootstrap named."""
    for facts in situation.facts.values():
        if text := _begun(facts):
            names = set(re.findall(r"(?:[=,])([^=,\s]+)=https://", text))
            return tuple(node for node in situation.cluster.nodes if node.name in names)
    return None


def stranded(situation: Situation) -> tuple[Problem, ...]:
    """Return members that can neither bootstrap nor join: the store exists, and has no quorum."""
    if not is_lost(situation):
        return ()
    begun = _bootstrapped(situation) or ()
    begun_on = [node for node in situation.cluster.nodes if paths.ETCD_BOOTSTRAP in situation.of(node).paths]
    there = list(dict.fromkeys(node.name for node in (*begun, *begun_on)))
    return tuple(
        Problem(
            f"{node.name} is to join the store, but that has no quorum",
            where=node.name,
            advice=f"bring the store back first: systemctl status {paths.ETCD_UNIT} on {', '.join(there)}",
        )
        for node in situation.cluster.members
        if node.name not in there
    )
