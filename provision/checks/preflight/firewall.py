"""The requirements of `firewall: true`."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome


@check(PREFLIGHT)
def firewall(view: NodeView) -> Iterator[Outcome]:
    """The firewall can run: nft and nf_tables are there."""
    if view.situation.cluster.firewall and view.value("nft") != "yes":
        yield view.failed(
            "`firewall: true` needs nft, and `nft list tables` fails here",
            advice="apt-get install nftables; if it is installed, see what `nft list tables` says; or firewall: false",
        )
