"""How long a certificate is still valid."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate: what it is (`leaf docker/node1-server`), where it lies (`node1:/etc/…`), when it ends."""

    what: str
    where: str
    end: datetime


def left(end: datetime, now: datetime) -> str:
    """Say how long a certificate is valid, or since when it is not, in days."""
    days = abs(end - now).days
    count = f"{days} day{'' if days == 1 else 's'}"
    return count if end > now else f"ended {count} ago"
