"""Certificates as values: sign and verify them, without files."""

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
# 825 days: the longest lifetime of a server certificate that Apple's platforms accept, also from a private authority
# (support.apple.com/HT210176), and so the longest that works for every client of the Docker API.
LEAF_LIFETIME = timedelta(days=825)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)  # certificates start earlier by this, for nodes whose clock is behind
NAME_LIMIT = 64  # X.520's limit for a common name or an organization; longer names are cut, as nothing reads them


@dataclass(frozen=True)
class Signer:
    """An authority and its key. The key is None if it is not on this controller: the authority cannot sign then."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey | None = field(repr=False)


def expiry(pem: bytes) -> datetime:
    """Return the end of a certificate's validity (aware, UTC). ValueError if the text is no certificate."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def load_all(pem: bytes) -> list[x509.Certificate]:
    """Return every certificate in a PEM file; an empty list if the file is damaged."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def key_of(certificate: x509.Certificate) -> bytes:
    """Return the public key. A renewed authority has the same one."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def load_key(pem: bytes) -> EllipticCurvePrivateKey:
    """Return a private key. ValueError if the text is no key, or not an unencrypted elliptic curve key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:  # TypeError: the key is encrypted
        raise ValueError(str(error)) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


def new_key() -> EllipticCurvePrivateKey:
    """Return a new key on P-256, a curve that every TLS 1.2 peer supports."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: EllipticCurvePrivateKey) -> bytes:
    """Return a key as unencrypted PKCS #8 PEM: the daemons accept no encrypted key."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def point(certificate: x509.Certificate) -> str:
    """Return a certificate's public key as hex: the point on the curve, which is also in the private key's file."""
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
    """Return the certificate of a leaf. It ends no later than its authority. ValueError if the authority has no key."""
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
    leaf: Leaf,
    certificate: bytes,
    key: bytes,
    signer: Signer | None,
    moment: datetime,
    since: datetime | None = None,
    left: timedelta = RENEW_BEFORE,
) -> bool:
    """Return whether a certificate and key are exactly this leaf, and valid for longer than `left`.

    `signer`: who has to have signed the certificate; None for anybody.
    `since`: the certificate must also have been signed at or after this moment.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        found = x509.load_pem_x509_certificate(certificate)
        if signer:
            found.verify_directly_issued_by(signer.certificate)
        return (
            found.public_key() == load_key(key).public_key()
            and found.not_valid_before_utc <= moment < found.not_valid_after_utc - left
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
    """Return the extensions with a leaf's address and permitted uses."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    uses = [ExtendedKeyUsageOID.SERVER_AUTH] * leaf.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * leaf.client
    extensions: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=False, path_length=None),
        _usage(signs=False),
        x509.ExtendedKeyUsage(uses),
    ]
    if leaf.address:
        # No DNS name: a daemon that resolves the name would admit any host that the name resolves to.
        extensions.append(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(leaf.address))]))
    return extensions


def _purpose_of(certificate: x509.Certificate) -> list[x509.ExtensionType]:
    """Return the same extensions of a certificate: all but the identifiers of keys."""
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
