"""A leaf certificate: its description, and what was issued."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Leaf:
    """The description of a leaf. `address`: its only subject alternative name; None for a mere client."""

    authority: str
    name: str
    address: str | None
    server: bool
    client: bool

    def __str__(self) -> str:
        """Return authority and name, which are also the path of the files: `docker/node1-server`."""
        return f"{self.authority}/{self.name}"


@dataclass(frozen=True)
class Issued:
    """An issued leaf: its certificate, its key, and its authority's certificate, all as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes
