"""Moves: a container comes up on another host with the address that it had, and is reached there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from provision.checks.probe_pool import moving_addresses, probe_pool
from provision.checks.probes import AddressTakenError, Probe, new_name, remove, start
from provision.checks.proof import Proof
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.core.reach import Flow
from provision.inventory.model import Network, Node
from provision.planes.etcd import paths
from provision.remote.remotes import in_parallel
from provision.waiting import wait_for

#: Seconds until two containers of one host reach each other: while one has sent nothing yet, the host's bridge may take
#: its MAC address for one behind the tunnel. ARP asks anew after five seconds, and may be answered wrongly again.
NEIGHBOUR_SECONDS = 30

_ADVICE = f"{paths.MEND_UNIT} leads packets to where a container is: journalctl -u {paths.MEND_UNIT}"


@check("moves")
def moved_address_is_reached(proof: Proof) -> Iterator[Outcome]:
    """An address moves from the first host to the second, after packets on the first, and every host reaches it there.

    Docker 20.10 alone would lose it for good (`own_addresses` in checks/probe_pool.py).
    """
    network = proof.cluster.networks[0]
    probes = probe_pool(proof, network).probes()
    for address in moving_addresses(proof.cluster, probe_pool(proof, network).subnet):
        try:
            yield from _moved(proof, network, probes, address)
            return
        except AddressTakenError:
            continue
    yield failed(
        "cluster", f"{network.name}: every address for this is in use", "fab verify, again, when no other runs"
    )


def _moved(proof: Proof, network: Network, probes: Sequence[Probe], address: str) -> list[Outcome]:
    """Let the first host's probe talk to the address there, then all probes when it is on the second."""
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
    """Have a probe with this address for as long as the block."""
    name = new_name(proof, node)
    try:
        with closing(start(proof, node, network.name, name, address)):
            yield
    finally:
        remove(proof, node, name)
