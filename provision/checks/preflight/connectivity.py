"""Connectivity between the nodes: packets sent by one node must have arrived at the other."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome


@check(PREFLIGHT)
def ways_open(view: NodeView) -> Iterator[Outcome]:
    """Packets reach every port of every other node: a port blocked one way shows only later, as a broken network."""
    purposes = {port.number: port.purpose for port in view.plane.ports_of(view.situation.cluster)}
    for cell in view.situation.matrix.blocked:
        if cell.target == view.node.name:
            source = view.situation.cluster.node(cell.source)
            yield view.failed(
                f"{cell} is blocked: the port is for {purposes[cell.port]}",
                advice=f"let {source.address} reach port {cell.port}/{cell.protocol} of {cell.target}: look at the "
                "firewalls on both nodes and between them (nft list ruleset; iptables -S)",
            )


@check(PREFLIGHT)
def large_packets(view: NodeView) -> Iterator[Outcome]:
    """Packets as large as the links allow arrive: where they are lost silently, TLS handshakes hang half-way."""
    for (source, target), lost in view.situation.matrix.vanished.items():
        if target != view.node.name:
            continue
        ends = [view.situation.cluster.node(name) for name in (source, target)]
        # TCP agrees on the smaller MTU of the two ends, and sends no larger packet.
        agreed = min(view.situation.of(node).mtus.get(node.address, 0) for node in ends)
        if lost <= agreed:
            crossed = view.situation.matrix.sizes[source, target]
            yield view.failed(
                f"packets of {lost} bytes from {source} are lost on the way without an ICMP error; the links of both "
                f"nodes have an MTU of at least {agreed}, but only packets of up to {crossed} bytes arrive",
                advice=f"set the MTU of both links to {crossed} (ip link set DEVICE mtu {crossed}), or allow ICMP "
                "'fragmentation needed' between the nodes",
            )


@check(PREFLIGHT)
def source(view: NodeView) -> Iterator[Outcome]:
    """Packets to the other nodes come from the node's address: members, IPsec and firewalls know the node by it."""
    for other in view.situation.cluster.nodes:
        found = view.facts.sources.get(other.address, view.node.address)
        if found != view.node.address:
            yield view.failed(
                f"packets to {other.name} come from {found}: the other nodes know this node as {view.node.address}",
                advice=f"on this host, and after each boot: ip route replace $(ip -o route get {other.address} | "
                f"sed 's/ src .*//') src {view.node.address}; or write `address: {found}` in the inventory",
            )
