"""The ways between the nodes: what was sent from one has to have come to the other."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome


@check(PREFLIGHT)
def ways_open(view: NodeView) -> Iterator[Outcome]:
    """A port blocked in one direction looks like a broken network later, and like nothing at all before."""
    purposes = {port.number: port.purpose for port in view.plane.ports}
    for cell in view.situation.matrix.blocked:
        if cell.target == view.node.name:
            source = view.situation.cluster.node(cell.source)
            yield view.failed(
                f"{cell} is blocked: the port is for {purposes[cell.port]}",
                advice=f"let {source.address} in to port {cell.port}/{cell.protocol} on {cell.target}: look at the "
                "firewalls of both and between them (nft list ruleset; iptables -S)",
            )


@check(PREFLIGHT)
def large_packets(view: NodeView) -> Iterator[Outcome]:
    """Where they vanish without a word, TLS handshakes stop half-way, and the daemons wait for each other."""
    for (source, target), lost in view.situation.matrix.vanished.items():
        if target != view.node.name:
            continue
        ends = [view.situation.cluster.node(name) for name in (source, target)]
        # TCP asks both ends, and sends nothing larger than either's link.
        agreed = min(view.situation.of(node).mtus.get(node.address, 0) for node in ends)
        if lost <= agreed:
            crossed = view.situation.matrix.sizes[source, target]
            yield view.failed(
                f"packets of {lost} bytes from {source} vanish on the way, and nobody tells it; the links of both say "
                f"that they carry {agreed}, and {crossed} do come",
                advice=f"give both links what the way carries (ip link set DEVICE mtu {crossed}), or let ICMP "
                "'fragmentation needed' through between them",
            )
