"""Ports, routes and ways through SSH."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision import layout
from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.network.subnets import assigned, claims, spare
from provision.phases.networks import changed_networks
from provision.resources import KEEPER


@check(PREFLIGHT)
def ports(view: NodeView) -> Iterator[Outcome]:
    """What we need must be free, or held by our own daemons."""
    units = {port.number: port.unit for port in view.plane.ports}
    for listener in view.facts.listeners:
        unit = view.facts.unit(units.get(listener.port, layout.DOCKER_UNIT))
        # 4789 is held by the kernel and has no process; only a cluster of ours makes Docker open it.
        in_kernel = listener.port == layout.VXLAN_PORT and listener.owner == "unknown"
        if unit.inputs and (in_kernel or f"pid={unit.process}," in listener.owner):
            continue
        owner = re.sub(r'users:\(\("([^"]+)",pid=(\d+).*', r"\1 (process \2)", listener.owner)
        yield view.failed(
            f"port {listener.port}/{listener.protocol} is taken by {owner}",
            advice=f"stop it, or move it: see `ss -lntup sport = :{listener.port}` there",
        )


@check(PREFLIGHT)
def overlap(view: NodeView) -> Iterator[Outcome]:
    """What a node reaches under such addresses now, containers would look for on the overlay."""
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
    """A network that has to be made anew can only be removed when no container uses it."""
    # One that is not there is made, or cannot be seen for want of a quorum.
    for network in (one for one in changed_networks(view.situation) if one.name in view.situation.networks):
        using = [one.name for one in view.facts.containers if network.name in one.networks]
        if users := [name for name in using if not name.startswith(KEEPER)]:
            yield view.failed(
                f"network {network.name} has to be made anew, and is in use by {', '.join(users)}",
                advice="`fab plan --ignore network-in-use` says why; stop these containers, or disconnect them from it",
            )


@check(PREFLIGHT)
def forwarding(view: NodeView) -> Iterator[Outcome]:
    """The controller asks the daemons through SSH alone, and only after everything else was changed."""
    yield from (view.failed(problem.what, problem.advice) for problem in view.facts.not_forwarded)
