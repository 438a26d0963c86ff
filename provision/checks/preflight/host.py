"""The machine: what every node has to be."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.preflight.scene import Scene, check, check_of_release
from provision.errors import Problem

CLOCKS_APART = 1.0
"""Seconds that two nodes' clocks may differ."""


@check
def root(scene: Scene) -> Iterator[Problem]:
    """Everything after this needs it."""
    if scene.value("root") != "0":
        yield Problem("scripts do not run as root here", advice="give the login user sudo, or log in as root")


@check
def systemd(scene: Scene) -> Iterator[Problem]:
    """Units and drop-ins are how daemons are run."""
    if scene.value("init") != "systemd":
        yield Problem(
            f"process 1 is {scene.value('init') or 'unknown'}, not systemd",
            advice="use a host that boots with systemd",
        )


@check
def vxlan(scene: Scene) -> Iterator[Problem]:
    """Packets cross hosts in it."""
    if scene.value("vxlan") != "yes":
        yield Problem(
            f"kernel {scene.value('kernel')} has no vxlan",
            advice="install the distribution's full kernel image",
        )


@check
def address(scene: Scene) -> Iterator[Problem]:
    """The other nodes and the daemons here use it."""
    addresses = scene.facts.mtus
    if addresses and scene.node.address not in addresses:
        yield Problem(
            f"{scene.node.address} is no address of this host; it has {', '.join(addresses)}",
            advice="correct the address in the inventory; where you connect to another one, say so with ssh: {host: …}",
        )


@check_of_release
def cpu(scene: Scene) -> Iterator[Problem]:
    """Another CPU's binaries do not run."""
    theirs, ours = scene.value("machine"), scene.situation.artifact.cpu
    if scene.node.member and theirs != ours:
        yield Problem(
            f"this host is {theirs}, {scene.situation.artifact.path.name} is for {ours}",
            advice=f"use the etcd release for {theirs}",
        )


@check
def hostname(scene: Scene) -> Iterator[Problem]:
    """Docker's gossip names hosts by it: two of one name drop out in turn."""
    mine = scene.value("hostname")
    for other in scene.others:
        if mine and mine == scene.situation.of(other).values.get("hostname"):
            yield Problem(
                f"the hostname {mine} is that of {other.name} too",
                advice=f"hostnamectl set-hostname {scene.node.name}, on this host",
            )


@check
def one_machine_one_entry(scene: Scene) -> Iterator[Problem]:
    """A clone, or one host listed twice."""
    mine = scene.value("machine-id")
    for other in scene.others:
        if mine and mine == scene.situation.of(other).values.get("machine-id"):
            yield Problem(
                f"/etc/machine-id is that of {other.name} too: one host listed twice, or a clone",
                advice="correct the inventory; on a clone: rm /etc/machine-id && systemd-machine-id-setup, reboot",
            )


@check
def clock(scene: Scene) -> Iterator[Problem]:
    """Certificates and journals are read by it; from this difference on etcd warns by itself (rafthttp)."""
    mine = scene.facts.clock
    for other in scene.others:
        theirs = scene.situation.of(other).clock
        if mine is None or theirs is None:
            continue
        # Only what is certain: the way there and back may have taken the rest.
        ahead, behind = mine.least - theirs.most, theirs.least - mine.most
        if max(ahead, behind) > CLOCKS_APART:
            yield Problem(
                f"the clock is at least {max(ahead, behind):.1f} s {'ahead of' if ahead > behind else 'behind'} "
                f"that of {other.name}",
                advice="let a time service keep both: timedatectl set-ntp true, then timedatectl timesync-status",
            )
