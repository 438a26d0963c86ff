"""What the host firewall needs, where the inventory asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome


@check(PREFLIGHT)
def firewall(view: NodeView) -> Iterator[Outcome]:
    """Its table is loaded by nft, into a kernel that has nf_tables; and it knows a node by its address alone."""
    cluster = view.situation.cluster
    if not cluster.firewall:
        return
    if view.value("nft") != "yes":
        yield view.failed(
            "`firewall: true` needs nft, which does not list tables here",
            advice="apt-get install nftables, or see what `nft list tables` says; or set firewall: false",
        )
    for other in cluster.nodes:
        source = view.facts.sources.get(other.address, view.node.address)
        if source != view.node.address:
            yield view.failed(
                f"packets to {other.name} come from {source}: its firewall knows this node as {view.node.address}",
                advice=f"on this host: ip route replace {other.address} dev DEVICE src {view.node.address}, for good; "
                "or correct the address in the inventory",
            )
