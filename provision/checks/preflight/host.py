"""The machine: what every node has to be."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome

CLOCKS_APART = 1.0
"""Seconds that two nodes' clocks may differ."""


@check(PREFLIGHT)
def root(view: NodeView) -> Iterator[Outcome]:
    """Everything after this needs it."""
    if view.value("root") != "0":
        yield view.failed("scripts do not run as root here", advice="give the login user sudo, or log in as root")


@check(PREFLIGHT)
def systemd(view: NodeView) -> Iterator[Outcome]:
    """Units and drop-ins are how daemons are run."""
    if view.value("init") != "systemd":
        yield view.failed(
            f"process 1 is {view.value('init') or 'unknown'}, not systemd",
            advice="use a host that boots with systemd",
        )


@check(PREFLIGHT)
def vxlan(view: NodeView) -> Iterator[Outcome]:
    """Packets cross hosts in it."""
    if view.value("vxlan") != "yes":
        yield view.failed(
            f"kernel {view.value('kernel')} has no vxlan",
            advice="install the distribution's full kernel image",
        )


@check(PREFLIGHT)
def address(view: NodeView) -> Iterator[Outcome]:
    """The other nodes and the daemons here use it."""
    addresses = view.facts.mtus
    if addresses and view.node.address not in addresses:
        yield view.failed(
            f"{view.node.address} is no address of this host; it has {', '.join(addresses)}",
            advice="correct the address in the inventory; where you connect to another one, say so with ssh: {host: …}",
        )


@check(PREFLIGHT)
def hostname(view: NodeView) -> Iterator[Outcome]:
    """Docker's gossip names hosts by it: two of one name drop out in turn."""
    mine = view.value("hostname")
    for other in view.others:
        if mine and mine == view.situation.of(other).values.get("hostname"):
            yield view.failed(
                f"the hostname {mine} is that of {other.name} too",
                advice=f"hostnamectl set-hostname {view.node.name}, on this host",
            )


@check(PREFLIGHT)
def one_machine_one_entry(view: NodeView) -> Iterator[Outcome]:
    """A clone, or one host listed twice."""
    mine = view.value("machine-id")
    for other in view.others:
        if mine and mine == view.situation.of(other).values.get("machine-id"):
            yield view.failed(
                f"/etc/machine-id is that of {other.name} too: one host listed twice, or a clone",
                advice="correct the inventory; on a clone: rm /etc/machine-id && systemd-machine-id-setup, reboot",
            )


@check(PREFLIGHT)
def clock(view: NodeView) -> Iterator[Outcome]:
    """Certificates and journals are read by it, and members of a cluster warn of a larger difference."""
    mine = view.facts.clock
    for other in view.others:
        theirs = view.situation.of(other).clock
        if mine is None or theirs is None:
            continue
        # Only what is certain: the way there and back may have taken the rest.
        ahead, behind = mine.least - theirs.most, theirs.least - mine.most
        if max(ahead, behind) > CLOCKS_APART:
            yield view.failed(
                f"the clock is at least {max(ahead, behind):.1f} s {'ahead of' if ahead > behind else 'behind'} "
                f"that of {other.name}",
                advice="let a time service keep both: timedatectl set-ntp true, then timedatectl timesync-status",
            )
