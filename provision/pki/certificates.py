"""Certificates as values: signing them, and judging what was read. No files here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from provision.pki.leaf import Leaf

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY_LIFETIME = timedelta(days=3650)
# 825 days: the most that Apple's platforms accept of a server certificate, of private authorities too
# (support.apple.com/HT210176), and so the longest that works for every client of the Docker API.
LEAF_LIFETIME = timedelta(days=825)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)  # a node whose clock is behind must not see a certificate of the future
NAME_LIMIT = 64  # X.520, for a common name or an organization; nothing reads ours, so a longer one is cut


@dataclass(frozen=True)
class Signer:
    """An authority with its key; None where that is elsewhere, or lost: it signs nothing then."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey | None = field(repr=False)


def expiry(pem: bytes) -> datetime:
    """Return when a certificate ends (aware, UTC). ValueError when it is no certificate."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def load_all(pem: bytes) -> list[x509.Certificate]:
    """Return every certificate in a file; none where it is damaged."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def key_of(certificate: x509.Certificate) -> bytes:
    """Return the public key: the same for an authority that has signed itself anew."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def load_key(pem: bytes) -> EllipticCurvePrivateKey:
    """Return a private key. ValueError when it is none, or not one of ours."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:  # TypeError: it is encrypted
        raise ValueError(str(error)) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


def new_key() -> EllipticCurvePrivateKey:
    """Return a new key on P-256, which every TLS 1.2 peer can do."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: EllipticCurvePrivateKey) -> bytes:
    """Return a key as PKCS #8 PEM, not encrypted: daemons take no other."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def point(certificate: x509.Certificate) -> str:
    """Return a certificate's public key as hex: the point on its curve, which is also written into its private key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex()


def sign_authority(organization: str, name: str, key: EllipticCurvePrivateKey, moment: datetime) -> x509.Certificate:
    """Return the certificate of an authority that signs leaves, and no further authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization[:NAME_LIMIT]),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    start = moment - CLOCK_SKEW
    return (
        _builder(subject, subject, key, start, start + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, SHA256())
    )


def sign_leaf(leaf: Leaf, key: EllipticCurvePrivateKey, signer: Signer, moment: datetime) -> x509.Certificate:
    """Return the certificate of a leaf. It does not outlive its authority. ValueError where that has no key here."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import NameOID

    if signer.key is None:
        raise ValueError(f"the authority of {leaf} has no key here")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, leaf.name[:NAME_LIMIT])])
    start = moment - CLOCK_SKEW
    end = min(start + LEAF_LIFETIME, signer.certificate.not_valid_after_utc)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    builder = _builder(subject, signer.certificate.subject, key, start, end)
    builder = builder.add_extension(issuer_key, critical=False)
    for extension in _purpose(leaf):
        critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer.key, SHA256())


def is_fit(
    leaf: Leaf, certificate: bytes, key: bytes, signer: Signer, moment: datetime, since: datetime | None = None
) -> bool:
    """Say whether a certificate and key are exactly the leaf they should be, and stay so for a while.

    `since`: and were signed no earlier.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        found = x509.load_pem_x509_certificate(certificate)
        found.verify_directly_issued_by(signer.certificate)
        return (
            found.public_key() == load_key(key).public_key()
            and found.not_valid_before_utc <= moment < found.not_valid_after_utc - RENEW_BEFORE
            and (since is None or found.not_valid_before_utc + CLOCK_SKEW >= since)
            and _purpose_of(found) == _purpose(leaf)
        )
    except (ValueError, TypeError, InvalidSignature, x509.DuplicateExtension):
        return False


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _purpose(leaf: Leaf) -> list[x509.ExtensionType]:
    """Return the extensions that say who a leaf is and what it may do."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    uses = [ExtendedKeyUsageOID.SERVER_AUTH] * leaf.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * leaf.client
    extensions: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=False, path_length=None),
        _usage(signs=False),
        x509.ExtendedKeyUsage(uses),
    ]
    if leaf.address:
        # The address alone: a daemon that looks a DNS name up would admit any host that the name leads to.
        extensions.append(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(leaf.address))]))
    return extensions


def _purpose_of(certificate: x509.Certificate) -> list[x509.ExtensionType]:
    """Return the same of a certificate that was read; identifiers of keys say nothing of purpose."""
    from cryptography import x509

    identifiers = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    values = [extension.value for extension in certificate.extensions]
    return [value for value in values if not isinstance(value, identifiers)]


def _usage(*, signs: bool) -> x509.KeyUsage:
    """Return the key usage of an authority, or of a leaf."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
