"""Certificates that no daemon may accept, each wrong in one way only. The security checks try them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from provision.pki import certificates
from provision.pki.certificates import LEAF_LIFETIME, Signer
from provision.pki.leaf import Leaf

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


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


def copied(
    certificate: x509.Certificate,
    signer: EllipticCurvePrivateKey,
    *,
    ended: datetime | None = None,
    client: bool = True,
    subject: x509.Name | None = None,
) -> bytes:
    """Return a copy of a certificate with a new key, and the key, in one PEM. `signer` signs it in its issuer's name.

    Everything else is as in the certificate, unless it is to have another end or subject, or no usage for clients.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = certificates.new_key()
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ended:
        start, end = ended - (end - start), ended
    builder = x509.CertificateBuilder(certificate.issuer, subject or certificate.subject, key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage) and not client:
            value = x509.ExtendedKeyUsage(use for use in value if use != ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = builder.add_extension(value, extension.critical)
    return certificates.certificate_pem(builder.sign(signer, SHA256())) + certificates.key_pem(key)
