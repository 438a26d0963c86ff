"""A client that connects to a daemon's port with a given certificate and TLS version: is it admitted or refused?"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: A request that every daemon of ours answers, on its ports for clients and for members.
QUESTION = b"GET /version HTTP/1.0\r\n\r\n"
#: Seconds to wait for a daemon's answer. A daemon that neither answers nor closes the connection has not refused.
PATIENCE = 10


@dataclass(frozen=True)
class Client:
    """A client. `key`: None where it is in the certificate's file. `speaks`: its newest TLS, None for plain text."""

    name: str
    certificate: Path | None = None
    key: Path | None = None
    speaks: ssl.TLSVersion | None = ssl.TLSVersion.TLSv1_3


@dataclass(frozen=True)
class Answer:
    """The daemon's reaction, and its message. `unable`: not tried, because the controller cannot be such a client."""

    kind: Literal["admitted", "refused", "silent", "unable"]
    words: str


def knock(client: Client, port: int, address: str, authority: Path) -> Answer:
    """Ask through a local port that leads to a daemon. The authority must have signed the daemon's certificate.

    `address`: the address or name for which the certificate has to be.
    """
    try:
        with dial(client, port, address, authority) as stream:
            return _asked(stream)
    except TimeoutError:
        return Answer("silent", f"neither an answer nor a refusal within {PATIENCE} s")
    except ssl.SSLError as error:
        # A TLS alert or an early end of the connection comes from the server; any other error is the controller's own.
        said_no = "ALERT" in (error.reason or "") or isinstance(error, ssl.SSLEOFError)
        return Answer("refused" if said_no else "unable", error.reason or str(error))
    except ConnectionError as error:
        return Answer("refused", str(error))
    except ValueError as error:  # a TLS version that this Python does not support
        return Answer("unable", str(error))


@contextmanager
def dial(client: Client, port: int, address: str, authority: Path) -> Iterator[socket.socket]:
    """Yield a connection, after its handshake. With TLS 1.3 a server may refuse the client afterwards: read from it."""
    context = _context(client, authority)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        if context is None:
            yield connection
            return
        with context.wrap_socket(connection, server_hostname=address) as stream:
            yield stream


def _asked(stream: socket.socket) -> Answer:
    """Send the question and read the answer."""
    stream.sendall(QUESTION)
    said = stream.recv(200)
    words = said.partition(b"\r\n")[0].decode(errors="replace")
    plain = not isinstance(stream, ssl.SSLSocket)
    return Answer("refused" if not said or (plain and is_refusal(said)) else "admitted", words)


def is_refusal(said: bytes) -> bool:
    """Return whether the answer to a plain-text request is "400 Bad Request" or a TLS alert."""
    return said.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ", b"\x15\x03"))


def _context(client: Client, authority: Path) -> ssl.SSLContext | None:
    if client.speaks is None:
        return None
    context = ssl.create_default_context(cafile=str(authority))
    if client.speaks < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")  # at higher levels OpenSSL 3 has no TLS 1.1
        context.minimum_version = client.speaks
    context.maximum_version = client.speaks
    if client.certificate:
        context.load_cert_chain(client.certificate, client.key)
    return context


@contextmanager
def written(secrets: Mapping[str, bytes]) -> Iterator[dict[str, Path]]:
    """Write secrets to files that only this user can read, for the time of the `with`; yield their paths by name.

    OpenSSL reads keys only from files.
    """
    with tempfile.TemporaryDirectory(prefix="overlay-provision-") as folder:
        paths = {name: Path(folder, str(number)) for number, name in enumerate(secrets)}
        for name, path in paths.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets[name])
        yield paths
