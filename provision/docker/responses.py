"""HTTP responses that arrived one after another on one connection."""

from __future__ import annotations

import io
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any


class _Received(io.BytesIO):
    """The socket of an HTTPResponse, and its file. It stays open when a response closes it, for the next response."""

    def makefile(self, mode: str) -> _Received:
        return self

    def close(self) -> None:
        pass


def responses(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the status and body of each complete response."""
    received: Any = _Received(data)
    while True:
        response = HTTPResponse(received)
        try:
            response.begin()
            yield response.status, response.read()
        except HTTPException:
            return
