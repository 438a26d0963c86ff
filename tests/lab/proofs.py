"""Checks made from here, without the command line: one at a time, over connections that stay."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from provision import inventory
from provision.api import Clients
from provision.checks import Outcome, verify
from provision.checks.proof import Proof
from provision.lab import Lab
from provision.pki import Identity
from provision.remote import Login, Remotes


@contextmanager
def connected(lab: Lab) -> Iterator[Proof]:
    """Connect to a provisioned lab's nodes and its daemons."""
    cluster = inventory.load(lab.inventory)
    with Remotes.open(cluster.nodes, Login(None, (), None)) as remotes:
        clients = Clients(cluster, remotes, Identity.read(cluster))
        try:
            yield Proof(cluster, clients, secrets.token_hex(4))
        finally:
            clients.close()


def outcomes(proof: Proof, check: str) -> list[Outcome]:
    """Make one check as `verify` would, as a run of its own."""
    made = verify.run(replace(proof, run=secrets.token_hex(4)), verify.choose(f"^{check}$", ""))
    return [outcome for outcome in made if outcome.check == check]


def red(proof: Proof, check: str) -> dict[str, str]:
    """Make one check; return what it says where it is red."""
    return {outcome.where: outcome.evidence for outcome in outcomes(proof, check) if outcome.status == "failed"}
