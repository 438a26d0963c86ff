"""A leaf certificate, as it should be and as it was issued."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Leaf:
    """What a leaf should be. `address` is its only subject alternative name; a pure client has none."""

    authority: str
    name: str
    address: str | None
    server: bool
    client: bool

    def __str__(self) -> str:
        """Return authority and name, as the files are called: `docker/node1-server`."""
        return f"{self.authority}/{self.name}"


@dataclass(frozen=True)
class Issued:
    """A leaf that exists: its certificate, its key, and the certificate of its authority, all PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes
