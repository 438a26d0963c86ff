"""The host: root, systemd, the kernel, and what must differ from node to node."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome

CLOCKS_APART = 1.0
"""The largest allowed difference between two nodes' clocks, in seconds."""


@check(PREFLIGHT)
def root(view: NodeView) -> Iterator[Outcome]:
    """Scripts run as root: every later check and every change needs that."""
    if view.value("root") != "0":
        yield view.failed("scripts do not run as root here", advice="give the login user sudo, or log in as root")


@check(PREFLIGHT)
def systemd(view: NodeView) -> Iterator[Outcome]:
    """The host runs systemd: its units start the daemons."""
    if view.value("init") != "systemd":
        yield view.failed(
            f"process 1 is {view.value('init') or 'unknown'}, not systemd",
            advice="use a host that boots with systemd",
        )


@check(PREFLIGHT)
def vxlan(view: NodeView) -> Iterator[Outcome]:
    """The kernel supports VXLAN, which carries packets between containers of different hosts."""
    if view.value("vxlan") != "yes":
        yield view.failed(
            f"kernel {view.value('kernel')} has no vxlan",
            advice="install the distribution's full kernel image",
        )


@check(PREFLIGHT)
def address(view: NodeView) -> Iterator[Outcome]:
    """The node's address belongs to this host: the other nodes send to it, and the daemons listen on it."""
    addresses = view.facts.mtus
    if addresses and view.node.address not in addresses:
        yield view.failed(
            f"{view.node.address} is no address of this host; it has {', '.join(addresses)}",
            advice="correct the address in the inventory; if SSH uses another address, add ssh: {host: …}",
        )


@check(PREFLIGHT)
def hostname(view: NodeView) -> Iterator[Outcome]:
    """Every node has a hostname of its own: Docker's gossip drops one of two hosts with the same name."""
    for other in _sharing(view, "hostname"):
        yield view.failed(
            f"the hostname {view.value('hostname')} is that of {other} too",
            advice=f"hostnamectl set-hostname {view.node.name}, on this host",
        )


@check(PREFLIGHT)
def one_machine_one_entry(view: NodeView) -> Iterator[Outcome]:
    """Every node has a machine ID of its own: two nodes with the same ID are one host listed twice, or clones."""
    for other in _sharing(view, "machine-id"):
        yield view.failed(
            f"/etc/machine-id is that of {other} too: one host listed twice, or a clone",
            # systemd-machine-id-setup would take D-Bus's copy of the old ID.
            advice="correct the inventory; on a clone: rm -f /etc/machine-id /var/lib/dbus/machine-id && "
            "systemd-machine-id-setup; then reboot it",
        )


def _sharing(view: NodeView, name: str) -> Iterator[str]:
    """Yield the other nodes whose value of this name is the same as this node's."""
    mine = view.value(name)
    return (other.name for other in view.others if mine and mine == view.situation.of(other).values.get(name))


@check(PREFLIGHT)
def clock(view: NodeView) -> Iterator[Outcome]:
    """Clocks differ by at most a second: certificates are judged by them, and members warn of larger differences."""
    mine = view.facts.clock
    for other in view.others:
        theirs = view.situation.of(other).clock
        if mine is None or theirs is None:
            continue
        # Only the certain difference counts: the rest may be the time that the question and answer took.
        ahead, behind = mine.least - theirs.most, theirs.least - mine.most
        if max(ahead, behind) > CLOCKS_APART:
            yield view.failed(
                f"the clock is at least {max(ahead, behind):.1f} s {'ahead of' if ahead > behind else 'behind'} "
                f"that of {other.name}",
                advice="let a time service keep both: timedatectl set-ntp true, then timedatectl timesync-status",
            )
