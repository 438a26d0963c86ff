"""Calls of a manager's gRPC methods, on one connection.

grpcio cannot be used: it refuses a server that selects no protocol in the TLS handshake, and dockerd 26 selects none.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from h2.events import Event

#: The package of the swarm's services.
PACKAGE = "docker.swarmkit.v1"
#: What gRPC calls these two statuses.
OK, PERMISSION_DENIED = "0", "7"


@dataclass(frozen=True)
class Reply:
    """The answer to one call. `status`: gRPC's number; empty if the manager ended the call without one."""

    status: str = ""
    words: str = ""
    body: bytes = b""

    def __str__(self) -> str:
        """As a person reads it: `status 7, Permission denied`."""
        return ", ".join(filter(None, (f"status {self.status or 'missing'}", self.words)))


def call(stream: socket.socket, name: str, methods: Sequence[str], message: bytes = b"") -> dict[str, Reply]:
    """Call all methods (`Control/ListNodes`) at once with a message; return the replies by method.

    `name`: the manager's.

    ConnectionError if the manager does not speak HTTP/2, or closes the connection.
    """
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import StreamEnded, StreamReset
    from h2.exceptions import ProtocolError

    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    calls = {2 * turn + 1: method for turn, method in enumerate(methods)}  # a client's streams have odd numbers
    for number, method in calls.items():
        connection.send_headers(number, _headers(name, method))
        connection.send_data(number, _framed(message), end_stream=True)
    replies, running = dict.fromkeys(methods, Reply()), set(methods)
    while running:
        if waiting := connection.data_to_send():
            stream.sendall(waiting)
        data = stream.recv(1 << 16)
        if not data:
            raise ConnectionError("the manager closed the connection without an answer")
        try:
            events = connection.receive_data(data)
        except ProtocolError as error:
            raise ConnectionError(f"the manager does not speak HTTP/2: {error}") from error
        for event in events:
            method = calls.get(getattr(event, "stream_id", None) or 0, "")
            if isinstance(event, StreamEnded | StreamReset):
                running.discard(method)
            elif method:
                replies[method] = _with(replies[method], event)
    return replies


def _framed(message: bytes) -> bytes:
    """Return a message as gRPC sends it: not compressed, and after its length."""
    return bytes(1) + len(message).to_bytes(4, "big") + message


def _headers(name: str, method: str) -> list[tuple[str, str]]:
    """Return the headers of a gRPC call."""
    return [
        *((":method", "POST"), (":scheme", "https"), (":path", f"/{PACKAGE}.{method}"), (":authority", name)),
        *(("content-type", "application/grpc"), ("te", "trailers")),
    ]


def _with(reply: Reply, event: Event) -> Reply:
    """Return a reply with what an event adds to it. The status is in the trailers, or with a refusal in the headers."""
    from h2.events import DataReceived, ResponseReceived, TrailersReceived

    if isinstance(event, DataReceived):
        return replace(reply, body=reply.body + event.data)
    if isinstance(event, ResponseReceived | TrailersReceived):
        told = {str(name): str(value) for name, value in event.headers}
        status = told.get("grpc-status", reply.status)
        return replace(reply, status=status, words=unquote(told.get("grpc-message", reply.words)))
    return reply
