"""Preflight checks of swarm mode."""

from __future__ import annotations

from collections.abc import Iterator

from provision.checks.node_view import NodeView
from provision.checks.preflight import docker
from provision.core.check import PREFLIGHT, check
from provision.core.outcome import Outcome
from provision.phases import upgrade
from provision.phases.installation import docker_version
from provision.planes.swarm import paths, recovery
from provision.planes.swarm import view as swarm
from provision.planes.swarm.ports import encrypted
from provision.versions import Window

#: What a release breaks for hosts in a swarm; the release after each mends it (Docker's release notes).
BROKEN = {
    "28.0.0": "loses published ports of a swarm",
    "29.0.0": "finds no names on networks of one host once that is in a swarm (moby #51515)",
}
#: Docker versions whose encrypted networks are encrypted (moby's security advisories of April 2023).
ENCRYPTING = Window(((20, 10, 24), (23, 0, 3)), (1000,))


@check(PREFLIGHT)
def docker_at_work(view: NodeView) -> Iterator[Outcome]:
    """Docker runs and answers: only the daemon itself says whether it is in a swarm, and in which."""
    if recovery.was_given_up(view.situation, view.node):
        return
    if view.value("dockerd") and not view.facts.docker_answers and not any(docker.docker_starts(view)):
        words = view.value("docker-last-words").strip().rpartition("\n")[2]
        what = "Docker does not run, or does not answer" + (f": {words}" if words else "")
        yield view.failed(what, "systemctl start docker; journalctl -u docker")


@check(PREFLIGHT)
def working_docker(view: NodeView) -> Iterator[Outcome]:
    """Docker is no release that breaks published ports or names on hosts in a swarm."""
    version = upgrade.coming(view.situation, view.node) or docker_version(view.situation, view.node)
    if version in BROKEN:
        yield view.failed(f"Docker {version} {BROKEN[version]}", "install a later release of Docker")


@check(PREFLIGHT)
def no_live_restore(view: NodeView) -> Iterator[Outcome]:
    """live-restore is off: with it, a dockerd in swarm mode does not start."""
    if view.facts.live_restore:
        yield view.failed("live-restore is on, and dockerd does not start with it in swarm mode", "turn it off")


@check(PREFLIGHT)
def firewall_backend(view: NodeView) -> Iterator[Outcome]:
    """Docker writes its rules with iptables: it refuses swarm mode with nftables."""
    if view.facts.settings.get("firewall-backend") == "nftables":
        advice = 'take "firewall-backend" out of daemon.json, and restart docker'
        yield view.failed("Docker is configured for nftables, and refuses swarm mode with that", advice)


@check(PREFLIGHT)
def healthy_swarm(view: NodeView) -> Iterator[Outcome]:
    """The daemon is in no swarm, or works in one: one that is locked, or has failed, needs a person."""
    daemon = swarm.daemon(view.facts)
    if daemon.state in ("", "inactive", "active") or recovery.was_given_up(view.situation, view.node):
        return
    advice = {
        "locked": "docker swarm unlock, with the key that its user has saved; then turn autolock off",
        "pending": "wait: it is joining; docker info says what it waits for",
    }.get(daemon.state, "docker info and journalctl -u docker say why; docker swarm leave --force makes it new")
    yield view.failed(f"Docker's swarm is {daemon.state} here{f': {daemon.error}' if daemon.error else ''}", advice)


@check(PREFLIGHT)
def swarm_address(view: NodeView) -> Iterator[Outcome]:
    """The host has the address at which it is in the swarm: without it, its daemon finds no other node."""
    there, addresses = view.facts.answers.get("swarm-address", "").strip(), view.facts.mtus
    if there and addresses and there not in addresses:
        yield view.failed(
            f"this host is in the swarm at {there}, which it no longer has",
            f"give it that address as well: ip address add {there}/32 dev INTERFACE; fab plan then says how it moves",
        )


@check(PREFLIGHT)
def our_swarm(view: NodeView) -> Iterator[Outcome]:
    """A node is in no swarm or in ours: nobody else's swarm is taken over, and none is joined to another."""
    daemon = swarm.daemon(view.facts)
    if daemon.state != "active":
        return
    leave = "if that swarm is not needed: docker swarm leave --force, which ends its services on this host"
    if not view.situation.recorded and paths.PEERS not in view.facts.paths:
        yield view.failed("Docker is in a swarm already, which this tool has not made", leave)
        return
    if swarm.is_running(view.situation) and swarm.found(view.situation, view.node) is None:
        yield view.failed("Docker is in a swarm whose managers do not list this node", leave)


@check(PREFLIGHT)
def docker_encrypts(view: NodeView) -> Iterator[Outcome]:
    """Docker encrypts an encrypted network: some releases send its packets in clear text (CVE-2023-28840 to 28842)."""
    version = docker_version(view.situation, view.node)
    if encrypted(view.situation.cluster) and version and not ENCRYPTING.holds(version):
        names = ", ".join(network.name for network in encrypted(view.situation.cluster))
        yield view.failed(
            f"Docker {version} may send packets of an encrypted network in clear text (CVE-2023-28840): {names}",
            "install Docker 20.10.24, or 23.0.3 or later; or take `encrypted: true` out of the inventory",
        )


@check(PREFLIGHT)
def kernel_encrypts(view: NodeView) -> Iterator[Outcome]:
    """The kernel encrypts an encrypted network (IPsec's ESP): without that its containers reach no other host."""
    if encrypted(view.situation.cluster) and "encryption" not in view.facts.answers:
        names = ", ".join(network.name for network in encrypted(view.situation.cluster))
        yield view.failed(
            f"the kernel has no IPsec (ESP with AES-GCM), which an encrypted network needs: {names}",
            "modprobe esp4, with the distribution's whole kernel; or take `encrypted: true` out of the inventory",
        )
