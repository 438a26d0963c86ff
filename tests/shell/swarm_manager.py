"""A swarm's authority, and a manager that answers each call with the same words."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from provision.pki.certificates import certificate_pem, key_pem

ANSWER = {":status": "200", "content-type": "application/grpc"}


@dataclass(frozen=True)
class Authority:
    """The authority of a swarm."""

    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))

    @property
    def certificate(self) -> x509.Certificate:
        """Its own certificate."""
        return self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")]), self.key, signs=True)

    def issue(self, folder: Path, identity: str, role: str, days: int = 90) -> None:
        """Write the files of a node as Docker does. `role`: swarm-manager or swarm-worker."""
        folder.mkdir(parents=True)
        key = generate_private_key(SECP256R1())
        kinds = (NameOID.ORGANIZATION_NAME, "cluster"), (NameOID.ORGANIZATIONAL_UNIT_NAME, role)
        names = [x509.NameAttribute(*kind) for kind in (*kinds, (NameOID.COMMON_NAME, identity))]
        certificate = self._sign(x509.Name(names), key, dns=(role, identity), days=days)
        (folder / "swarm-node.crt").write_bytes(certificate_pem(certificate))
        (folder / "swarm-root-ca.crt").write_bytes(certificate_pem(self.certificate))
        first, _, rest = key_pem(key).partition(b"\n")
        (folder / "swarm-node.key").write_bytes(first + b"\nkek-version: 10\nraft-dek: EiCg=\n\n" + rest)

    def _sign(
        self,
        name: x509.Name,
        key: EllipticCurvePrivateKey,
        *,
        dns: tuple[str, ...] = (),
        days: int = 90,
        signs: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=100))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
        )
        if dns:
            both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
            builder = builder.add_extension(x509.SubjectAlternativeName(map(x509.DNSName, dns)), critical=False)
        return builder.sign(self.key, SHA256())


@contextmanager
def answering(folder: Path, words: str, status: str = "7", *, lets_in: Authority) -> Iterator[tuple[str, list[str]]]:
    """Answer calls as the manager with these files; return its address, and the list of the methods called.

    `lets_in`: the authority of the nodes that may call.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = folder / "plain.key"
    lines = (folder / "swarm-node.key").read_text().splitlines()
    key.write_text("\n".join(line for line in lines if ":" not in line))
    context.load_cert_chain(folder / "swarm-node.crt", key)
    context.load_verify_locations(cadata=certificate_pem(lets_in.certificate).decode())
    context.verify_mode = ssl.CERT_REQUIRED
    called: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with suppress(OSError), context.wrap_socket(client, server_side=True) as stream:
                    _answer(stream, {**ANSWER, "grpc-status": status, "grpc-message": words}, called)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", called
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer(stream: ssl.SSLSocket, headers: dict[str, str], called: list[str]) -> None:
    """Answer the calls on a connection until the client ends it."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    while True:
        stream.sendall(connection.data_to_send())
        data = stream.recv(1 << 16)
        if not data:
            return
        for event in connection.receive_data(data):
            if isinstance(event, RequestReceived):
                called.append(dict(event.headers)[":path"])
            if isinstance(event, StreamEnded):
                connection.send_headers(event.stream_id or 0, list(headers.items()), end_stream=True)
