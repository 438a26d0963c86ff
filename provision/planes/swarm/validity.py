"""The certificates that Docker makes for the swarm, as they lie on the nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography.x509 import NameOID, ObjectIdentifier

from provision.core.situation import Situation
from provision.core.validity import Certificate, left
from provision.errors import Problem
from provision.pki import certificates

#: The names of the answers of `fact_swarm_certificates`, and what each certificate is.
NODE, AUTHORITY = "swarm-node", "swarm-root-ca"
#: Where they are below Docker's data root.
FOLDER = "swarm/certificates"


def authority(situation: Situation) -> str:
    """Return the authorities that the first manager trusts, as text; empty if none says."""
    answers = (situation.of(node).answers.get(AUTHORITY, "") for node in situation.cluster.members)
    return next(filter(None, answers), "")


def found(situation: Situation) -> Iterator[Certificate]:
    """Yield the certificate of each node, and its authority's."""
    for node in situation.cluster.nodes:
        facts = situation.of(node)
        folder = f"{facts.values.get('docker-root', '')}/{FOLDER}"
        for answer, what in ((AUTHORITY, "authority swarm"), (NODE, f"leaf swarm/{node.name}")):
            # A node's own certificate comes first, and may be followed by that of an authority.
            text = facts.answers.get(answer, "").encode()
            for certificate in certificates.load_all(text)[:1]:
                where = f"{node.name}:{folder}/{answer}.crt"
                yield Certificate(what, where, certificate.not_valid_after_utc, certificate.not_valid_before_utc)


def role(text: str) -> str:
    """Return the role that a node's certificate gives it: `manager` or `worker`; empty if there is no certificate."""
    return _of_subject(text, NameOID.ORGANIZATIONAL_UNIT_NAME).removeprefix("swarm-")


def identity(text: str) -> str:
    """Return the ID of the node that a certificate is of; empty if there is no certificate."""
    return _of_subject(text, NameOID.COMMON_NAME)


def _of_subject(text: str, kind: ObjectIdentifier) -> str:
    own = certificates.load_all(text.encode())[:1]
    found = (one.subject.get_attributes_for_oid(kind) for one in own)
    return next((str(names[0].value) for names in found if names), "")


def differs(situation: Situation, days: int) -> bool:
    """Say whether a node's certificate lasts longer or shorter than so many days.

    Docker lets each begin an hour early (swarmkit, CertBackdate), and may end the first ones a little later.
    """
    texts = (situation.of(node).answers.get(NODE, "").encode() for node in situation.cluster.nodes)
    leaves = [one for text in texts for one in certificates.load_all(text)[:1]]
    lives = [one.not_valid_after_utc - one.not_valid_before_utc for one in leaves]
    return any(abs(life - timedelta(days=days)) > timedelta(hours=6) for life in lives)


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say which nodes' certificates have ended: Docker renews them in time, but not on a node that was off."""
    now = datetime.now(UTC)
    ended = [one for one in found(situation) if one.end <= now]
    if not ended:
        return ()
    told = ", ".join(f"{one.what} on {one.end:%Y-%m-%d} ({left(one.end, now)})" for one in ended)
    advice = "on that node: docker swarm leave --force; then fab provision, which lets it join anew"
    return (Problem(f"certificates have ended, and the swarm refuses their nodes: {told}", "cluster", advice),)
