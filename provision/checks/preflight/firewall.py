"""What the host firewall needs, where the inventory asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.preflight.scene import Scene, check
from provision.errors import Problem


@check
def firewall(scene: Scene) -> Iterator[Problem]:
    """Its table is loaded by nft, into a kernel that has nf_tables; and it knows a node by its address alone."""
    cluster = scene.situation.cluster
    if not cluster.firewall:
        return
    if scene.value("nft") != "yes":
        yield Problem(
            "`firewall: true` needs nft, which does not list tables here",
            advice="apt-get install nftables, or see what `nft list tables` says; or set firewall: false",
        )
    for other in cluster.nodes:
        source = scene.facts.sources.get(other.address, scene.node.address)
        if source != scene.node.address:
            yield Problem(
                f"packets to {other.name} come from {source}: its firewall knows this node as {scene.node.address}",
                advice=f"on this host: ip route replace {other.address} dev DEVICE src {scene.node.address}, for good; "
                "or correct the address in the inventory",
            )
