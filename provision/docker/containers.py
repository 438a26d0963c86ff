"""What containers should have: their networks, aliases and addresses, as a node tells them or as it recorded them. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attachment:
    """A container's place on a network."""

    network: str
    """The network's name."""
    address: str = ""
    """The IPv4 address that it has, or had last."""
    fixed: bool = False
    """Whether its user chose the address (`--ip`)."""
    aliases: tuple[str, ...] = ()
    """Those that its user chose; not the container's own short ID."""


@dataclass(frozen=True)
class Container:
    """A container of a node, and what it should have."""

    node: str
    identity: str
    """The full ID."""
    name: str
    image: str
    runs: bool
    restart: str
    """The restart policy: `no`, `always`, `unless-stopped` or `on-failure`."""
    attachments: tuple[Attachment, ...]


def parse(node: str, text: str) -> tuple[Container, ...]:
    """Read what `containers.sh` prints on a node."""
    raise NotImplementedError
