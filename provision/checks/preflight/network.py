"""Ports, routes and ways through SSH."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network

from provision import layout
from provision.checks.preflight.scene import Scene, check
from provision.errors import Problem


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
    """A network that a node already routes elsewhere would be cut off by the overlay."""
    for network in scene.situation.cluster.networks:
        for route in scene.value("routes").split(";"):
            words = route.split()
            # Docker's own bridges carry the overlay's other side; only routes of other devices count.
            device = words[words.index("dev") + 1] if "dev" in words[:-1] else ""  # none: more than one way
            if not words or device.startswith(("ov-", "br0", "vx-")):
                continue
            target = words[0] if "/" in words[0] else f"{words[0]}/32"
            if re.fullmatch(r"[\d./]+", target) and IPv4Network(target, strict=False).overlaps(network.subnet):
                yield Problem(
                    f"network {network.name} ({network.subnet}) overlaps the route {route.strip()}",
                    advice="give it another subnet in the inventory",
                )


@check
def forwarding(scene: Scene) -> Iterator[Problem]:
    """The store and Docker are asked through SSH alone, but only after everything else was changed."""
    yield from scene.facts.not_forwarded
