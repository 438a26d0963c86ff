"""A client that knocks at a daemon's port: what it shows, what it speaks, and whether it is let in."""

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

#: Every daemon of ours answers this question, to clients and to members alike.
QUESTION = b"GET /version HTTP/1.0\r\n\r\n"
#: Seconds in which a daemon says something. One that neither answers nor hangs up has not refused.
PATIENCE = 10


@dataclass(frozen=True)
class Client:
    """Who knocks. `key`: None where it is in the certificate's file. `speaks`: its newest TLS, None for plain text."""

    name: str
    certificate: Path | None = None
    key: Path | None = None
    speaks: ssl.TLSVersion | None = ssl.TLSVersion.TLSv1_3


@dataclass(frozen=True)
class Answer:
    """What came of it, and in which words. `unable`: nothing was tried, this machine cannot be such a client."""

    kind: Literal["admitted", "refused", "silent", "unable"]
    words: str


def knock(client: Client, port: int, address: str, authority: Path) -> Answer:
    """Come to a port of loopback that leads to `address`, whose certificate must be of that authority, and ask."""
    try:
        context = _context(client, authority)
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            return _asked(context.wrap_socket(connection, server_hostname=address) if context else connection, context)
    except TimeoutError:
        return Answer("silent", f"neither an answer nor a refusal within {PATIENCE} s")
    except ssl.SSLError as error:
        # An alert is the server's word, an end its deed; all else went wrong on this side.
        said_no = "ALERT" in (error.reason or "") or isinstance(error, ssl.SSLEOFError)
        return Answer("refused" if said_no else "unable", error.reason or str(error))
    except ConnectionError as error:
        return Answer("refused", str(error))
    except ValueError as error:  # a version of TLS that this Python was built without
        return Answer("unable", str(error))


def _asked(stream: socket.socket, context: ssl.SSLContext | None) -> Answer:
    """Ask, and read once: with TLS 1.3 a server judges a certificate when the client has long gone on."""
    with stream:
        stream.sendall(QUESTION)
        said = stream.recv(200)
    words = said.partition(b"\r\n")[0].decode(errors="replace")
    return Answer("refused" if not said or (context is None and is_refusal(said)) else "admitted", words)


def is_refusal(said: bytes) -> bool:
    """Say whether a plain question was answered with "400 Bad Request", or with an alert of TLS."""
    return said.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ", b"\x15\x03"))


def _context(client: Client, authority: Path) -> ssl.SSLContext | None:
    if client.speaks is None:
        return None
    context = ssl.create_default_context(cafile=str(authority))
    if client.speaks < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")  # above that level OpenSSL 3 has no TLS 1.1
        context.minimum_version = client.speaks
    context.maximum_version = client.speaks
    if client.certificate:
        context.load_cert_chain(client.certificate, client.key)
    return context


@contextmanager
def written(secrets: Mapping[str, bytes]) -> Iterator[dict[str, Path]]:
    """Keep secrets in files of nobody else's, by name, as long as the `with`: OpenSSL reads keys from files alone."""
    with tempfile.TemporaryDirectory(prefix="overlay-provision-") as folder:
        paths = {name: Path(folder, str(number)) for number, name in enumerate(secrets)}
        for name, path in paths.items():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets[name])
        yield paths
