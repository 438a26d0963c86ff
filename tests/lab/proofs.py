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
from provision.lab import Lab
from provision.planes.etcd.coordinator import EtcdCoordinator
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.plane import PLANE
from provision.remote import Login, Remotes


@contextmanager
def connected(lab: Lab) -> Iterator[Proof]:
    """Connect to the nodes and daemons of a provisioned lab."""
    cluster = inventory.load(lab.inventory)
    with Remotes.open(cluster.nodes, Login(None, (), None)) as remotes:
        coordinator = EtcdCoordinator(cluster, remotes, Identity.read(cluster))
        try:
            yield Proof(cluster, coordinator, secrets.token_hex(4))
        finally:
            coordinator.close()


def outcomes(proof: Proof, check: str) -> list[Outcome]:
    """Run one check as `verify` does, with a run ID of its own."""
    made = verify.run(replace(proof, run=secrets.token_hex(4)), matching(catalogue.of_verify(PLANE), f"^{check}$", ""))
    return [outcome for outcome in made if outcome.check == check]


def red(proof: Proof, check: str) -> dict[str, str]:
    """Run one check. Return the evidence of its failures, by place."""
    return {outcome.where: outcome.evidence for outcome in outcomes(proof, check) if outcome.status == "failed"}
