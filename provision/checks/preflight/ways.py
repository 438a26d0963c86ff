"""The ways between the nodes: what was sent from one has to have come to the other."""

from __future__ import annotations

from collections.abc import Iterator

from provision import layout
from provision.checks.preflight.scene import Scene, check
from provision.errors import Problem

USES = {
    layout.STORE_PORT: "Docker speaks to the store there",
    layout.PEER_PORT: "members of the store agree there",
    layout.DOCKER_PORT: "the nodes' Docker APIs are there",
    layout.GOSSIP_PORT: "Docker tells other nodes of its containers there",
    layout.VXLAN_PORT: "packets between containers go there",
}


@check
def ways_open(scene: Scene) -> Iterator[Problem]:
    """A port blocked in one direction looks like a broken network later, and like nothing at all before."""
    for cell in scene.situation.matrix.blocked:
        if cell.target == scene.node.name:
            source = scene.situation.cluster.node(cell.source)
            yield Problem(
                f"{cell} is blocked: {USES[cell.port]}",
                advice=f"let {source.address} in to port {cell.port}/{cell.protocol} on {cell.target}: look at the "
                "firewalls of both and between them (nft list ruleset; iptables -S)",
            )


@check
def large_packets(scene: Scene) -> Iterator[Problem]:
    """Where they vanish without a word, TLS handshakes stop half-way, and the daemons wait for each other."""
    for (source, target), lost in scene.situation.matrix.vanished.items():
        if target != scene.node.name:
            continue
        ends = [scene.situation.cluster.node(name) for name in (source, target)]
        # TCP asks both ends, and sends nothing larger than either's link.
        agreed = min(scene.situation.of(node).mtus.get(node.address, 0) for node in ends)
        if lost <= agreed:
            crossed = scene.situation.matrix.sizes[source, target]
            yield Problem(
                f"packets of {lost} bytes from {source} vanish on the way, and nobody tells it; the links of both say "
                f"that they carry {agreed}, and {crossed} do come",
                advice=f"give both links what the way carries (ip link set DEVICE mtu {crossed}), or let ICMP "
                "'fragmentation needed' through between them",
            )
