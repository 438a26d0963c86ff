"""Run single checks without the command line, over connections that stay open."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from provision import inventory
from provision.checks import catalogue, verify
from provision.checks.proof import Proof
from provision.core.check import matching
from provision.core.outcome import Outcome
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.lab import Lab
from provision.planes.etcd import plane as etcd
from provision.planes.etcd.coordinator import EtcdCoordinator
from provision.planes.swarm import plane as swarm
from provision.planes.swarm.coordinator import SwarmCoordinator
from provision.remote import Login, Remotes

_PLANES: dict[type, Plane] = {EtcdCoordinator: etcd.PLANE, SwarmCoordinator: swarm.PLANE}


@contextmanager
def connected(lab: Lab, plane: Plane = etcd.PLANE) -> Iterator[Proof]:
    """Connect to the nodes and daemons of a provisioned lab."""
    cluster = inventory.load(lab.inventory)
    with Remotes.open(cluster.nodes, Login(None, (), None)) as remotes:
        coordinator = plane.open(remotes, Situation(cluster, plane.local(cluster)[0]))
        try:
            yield Proof(cluster, coordinator, secrets.token_hex(4))
        finally:
            coordinator.close()


def outcomes(proof: Proof, check: str) -> list[Outcome]:
    """Run one check as `verify` does, with a run ID of its own."""
    made = verify.run(
        replace(proof, run=secrets.token_hex(4)),
        matching(catalogue.of_verify(_PLANES[type(proof.coordinator)]), f"^{check}$", ""),
    )
    return [outcome for outcome in made if outcome.check == check]


def red(proof: Proof, check: str) -> dict[str, str]:
    """Run one check. Return the evidence of its failures, by place."""
    return {outcome.where: outcome.evidence for outcome in outcomes(proof, check) if outcome.status == "failed"}
