"""The requirements of `firewall: true`."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome


@check(PREFLIGHT)
def firewall(view: NodeView) -> Iterator[Outcome]:
    """The firewall can run: nft and nf_tables are there, and packets come from the addresses that it lets in."""
    cluster = view.situation.cluster
    if not cluster.firewall:
        return
    if view.value("nft") != "yes":
        yield view.failed(
            "`firewall: true` needs nft, and `nft list tables` fails here",
            advice="apt-get install nftables; if it is installed, see what `nft list tables` says; or firewall: false",
        )
    for other in cluster.nodes:
        source = view.facts.sources.get(other.address, view.node.address)
        if source != view.node.address:
            yield view.failed(
                f"packets to {other.name} come from {source}: its firewall lets this node in as {view.node.address}",
                advice=f"on this host, and after each boot: ip route replace {other.address} dev DEVICE "
                f"src {view.node.address}; or correct the address in the inventory",
            )
