"""Ports, routes and ways through SSH."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provision import layout
from provision.checks.preflight.scene import Scene, check
from provision.errors import Problem
from provision.subnets import assigned, claims, spare


@check
def ports(scene: Scene) -> Iterator[Problem]:
    """What we need must be free, or held by our own daemons."""
    ours = {layout.STORE_PORT: layout.ETCD_UNIT, layout.PEER_PORT: layout.ETCD_UNIT}
    for listener in scene.facts.listeners:
        unit = scene.facts.unit(ours.get(listener.port, layout.DOCKER_UNIT))
        # 4789 is held by the kernel and has no process; only a cluster of ours makes Docker open it.
        in_kernel = listener.port == layout.VXLAN_PORT and listener.owner == "unknown"
        if unit.inputs and (in_kernel or f"pid={unit.process}," in listener.owner):
            continue
        owner = re.sub(r'users:\(\("([^"]+)",pid=(\d+).*', r"\1 (process \2)", listener.owner)
        yield Problem(
            f"port {listener.port}/{listener.protocol} is taken by {owner}",
            advice=f"stop it, or move it: see `ss -lntup sport = :{listener.port}` there",
        )


@check
def overlap(scene: Scene) -> Iterator[Problem]:
    """What a node reaches under such addresses now, containers would look for on the overlay."""
    subnets = assigned(scene.situation)
    used = claims(scene.situation, scene.node)
    for name, subnet in subnets.items():
        for claim in used:
            if claim.subnet.overlaps(subnet):
                other = spare(scene.situation, subnets.values(), subnet.prefixlen) or spare(
                    scene.situation, subnets.values()
                )
                yield Problem(
                    f"network {name} ({subnet}) overlaps {claim.what}",
                    advice="give it another subnet in the inventory"
                    + (f", for example {other}: no node uses it" if other else ""),
                )


@check
def forwarding(scene: Scene) -> Iterator[Problem]:
    """The store and Docker are asked through SSH alone, but only after everything else was changed."""
    yield from scene.facts.not_forwarded
