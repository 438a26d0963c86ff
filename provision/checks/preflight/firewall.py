"""What the host firewall needs, where the inventory asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.preflight.scene import Scene, check
from provision.errors import Problem


@check
def firewall(scene: Scene) -> Iterator[Problem]:
    """Its table is loaded by nft, into a kernel that has nf_tables."""
    if scene.situation.cluster.firewall and scene.value("nft") != "yes":
        yield Problem(
            "`firewall: true` needs nft, which does not list tables here",
            advice="apt-get install nftables, or see what `nft list tables` says; or set firewall: false",
        )
