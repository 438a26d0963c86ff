"""HTTP responses that came one after another on one connection."""

from __future__ import annotations

import io
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any


class _Received(io.BytesIO):
    """What HTTPResponse takes for a socket and for its file, which each response closes and the next reads on."""

    def makefile(self, mode: str) -> _Received:
        return self

    def close(self) -> None:
        pass


def responses(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk status and body of each response that is whole."""
    received: Any = _Received(data)
    while True:
        response = HTTPResponse(received)
        try:
            response.begin()
            yield response.status, response.read()
        except HTTPException:
            return
