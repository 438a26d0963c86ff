"""Certificates that no daemon may accept, each wrong in one way only. The security checks try them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from provision.pki import certificates
from provision.pki.certificates import LEAF_LIFETIME, Signer
from provision.pki.leaf import Leaf


def wrong(leaf: Leaf, signer: Signer, organization: str, moment: datetime) -> dict[str, bytes]:
    """Return certificate and key in one PEM, by what is wrong with the certificate.

    Everything else about it is right. The real authority signs them all, except the foreign one: its authority has the
    real authority's name and another key. The expired certificate ended an hour before `moment`.
    """
    key = certificates.new_key()
    foreign = Signer(certificates.sign_authority(organization, leaf.authority, key, moment), key)
    servers_only = replace(leaf, server=True, client=False)
    return {
        "expired certificate": _signed(leaf, signer, moment - LEAF_LIFETIME),
        "foreign authority": _signed(leaf, foreign, moment),
        "wrong extended key usage": _signed(servers_only, signer, moment),
    }


def _signed(leaf: Leaf, signer: Signer, moment: datetime) -> bytes:
    key = certificates.new_key()
    certificate = certificates.sign_leaf(leaf, key, signer, moment)
    return certificates.certificate_pem(certificate) + certificates.key_pem(key)
