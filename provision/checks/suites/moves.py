"""Moves: a container starts on another host with the address that it had before, and is reached there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from provision import layout
from provision.checks.probe_pool import moving_addresses, probe_pool
from provision.checks.probes import AddressTakenError, Probe, new_name, remove, start
from provision.checks.proof import Proof
from provision.checks.suites.overlay import REACH
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.core.reach import Flow
from provision.inventory.model import Network, Node
from provision.remote.remotes import in_parallel
from provision.waiting import wait_for

#: Seconds to wait until two containers of one host reach each other. As long as one has sent nothing, the host's bridge
#: may expect its MAC address behind the tunnel. ARP repeats its question after five seconds, and may fail again.
NEIGHBOUR_SECONDS = 30

_ADVICE = f"{layout.MEND_UNIT} should have corrected that: journalctl -u {layout.MEND_UNIT}"


@check("moves", needs=[REACH])
def moved_address_is_reached(proof: Proof) -> Iterator[Outcome]:
    """A container's address moves from one host to another, and every host reaches it there.

    With Docker 20.10 alone, hosts would go on sending to the first host (`own_addresses` in checks/probe_pool.py).
    """
    network = proof.cluster.networks[0]
    probes = probe_pool(proof, network).probes()
    for address in moving_addresses(proof.cluster, probe_pool(proof, network).subnet):
        try:
            yield from _moved(proof, network, probes, address)
            return
        except AddressTakenError:
            continue
    told = f"{network.name}: every address for this check is in use"
    yield failed("cluster", told, "run fab verify again when no other run is at work")


def _moved(proof: Proof, network: Network, probes: Sequence[Probe], address: str) -> list[Outcome]:
    """Ping the address from its first host's probe, then, after it has moved to the second host, from all probes."""
    here, there = proof.cluster.nodes[:2]
    with _visiting(proof, network, here, address):
        neighbour = next(probe for probe in probes if probe.node == here)
        if not wait_for(lambda: address in neighbour.reach(address), NEIGHBOUR_SECONDS):
            return [failed(here.name, f"{network.name}: {address} was not reached before it moved", "fab status")]
    with _visiting(proof, network, there, address):
        began = time.monotonic()
        reached = in_parallel(lambda probe: (probe.reach(address), time.monotonic() - began), probes)
    moved = f"{network.name}: {address}, moved from {here.name} to {there.name},"
    outcomes = []
    for probe, (answers, seconds) in zip(probes, reached, strict=True):
        where = there.name if probe.node == there else Flow(probe.node.name, there.name, "a moved address")
        if address in answers:
            outcomes.append(passed(where, f"{moved} answered after {seconds:.1f} s"))
        else:
            outcomes.append(failed(where, f"{moved} does not answer", _ADVICE))
    return outcomes


@contextmanager
def _visiting(proof: Proof, network: Network, node: Node, address: str) -> Iterator[None]:
    """Start a probe with this address, and remove it after the block."""
    name = new_name(proof, node)
    try:
        with closing(start(proof, node, network.name, name, address)):
            yield
    finally:
        remove(proof, node, name)
