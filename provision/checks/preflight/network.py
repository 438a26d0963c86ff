"""Ports, subnets, and forwarding through SSH."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.network.subnets import assigned, claims, spare
from provision.phases.network_users import users
from provision.phases.networks import changed_networks


@check(PREFLIGHT)
def ports(view: NodeView) -> Iterator[Outcome]:
    """The ports of our daemons are free, or in use by them: a daemon does not start if another process has its port."""
    ports = {port.number: port for port in view.plane.ports_of(view.situation.cluster) if port.listens}
    for listener in view.facts.listeners:
        port = ports.get(listener.port)
        # Docker lets the kernel open it, only for a cluster of ours.
        in_kernel = port is not None and port.in_kernel and listener.owner == "unknown"
        if port and port.is_ours(view.facts) and (in_kernel or listener.unit == port.unit):
            continue
        owner = re.sub(r'users:\(\("([^"]+)",pid=(\d+).*', r"\1 (process \2)", listener.owner)
        yield view.failed(
            f"port {listener.port}/{listener.protocol} is taken by {owner}",
            advice=f"stop it, or move it: see `ss -lntup sport = :{listener.port}` there",
        )


@check(PREFLIGHT)
def overlap(view: NodeView) -> Iterator[Outcome]:
    """No subnet overlaps addresses that a node uses: containers would look for those addresses on the overlay."""
    subnets = assigned(view.situation)
    used = claims(view.situation, view.node)
    for name, subnet in subnets.items():
        for claim in used:
            if claim.subnet.overlaps(subnet):
                other = spare(view.situation, subnets.values(), subnet.prefixlen) or spare(
                    view.situation, subnets.values()
                )
                yield view.failed(
                    f"network {name} ({subnet}) overlaps {claim.what}",
                    advice="give it another subnet in the inventory"
                    + (f", for example {other}: no node uses it" if other else ""),
                )


@check(PREFLIGHT)
def network_in_use(view: NodeView) -> Iterator[Outcome]:
    """No container, even a stopped one, is on a network that has to be recreated or removed: it could not start."""
    situation = view.situation
    why = "`fab plan --ignore network-in-use` says why; "
    # One that is not there is made, or cannot be seen for want of a quorum.
    recreated = {one.name: why for one in changed_networks(situation) if one.name in situation.networks}
    for name, advice in {
        **recreated,
        **dict.fromkeys(situation.dropped, "name it in the inventory again; or "),
    }.items():
        if using := users(situation, view.node, (name,)):
            done = "recreated" if name in recreated else "removed, for the inventory does not have it"
            yield view.failed(
                f"network {name} has to be {done}, but is in use by {', '.join(map(str, using))}",
                advice=f"{advice}remove the containers, or disconnect them: docker network disconnect {name} CONTAINER",
            )


@check(PREFLIGHT)
def forwarding(view: NodeView) -> Iterator[Outcome]:
    """sshd allows forwarding: the controller reaches the daemons only through SSH, and needs that during a run."""
    yield from (view.failed(problem.what, problem.advice) for problem in view.facts.not_forwarded)
