"""How long a certificate is still valid."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

#: What renews certificates does so earlier. One that is in its last fourteen days was not renewed.
SOON = timedelta(days=14)
#: The part of a shorter life that counts as its end: Docker renews a certificate before the last fifth.
LAST_PART = 6


class Certificate(NamedTuple):
    """A certificate: what it is (`leaf docker/node1-server`), where it lies (`node1:/etc/…`), its end and beginning."""

    what: str
    where: str
    end: datetime
    begin: datetime | None = None

    def ends_soon(self, now: datetime) -> bool:
        """Say whether the certificate has ended, or is about to."""
        part = (self.end - self.begin) / LAST_PART if self.begin else SOON
        return self.end - min(SOON, part) <= now


def ending(found: Iterable[Certificate], now: datetime) -> tuple[Certificate, ...]:
    """Return the certificates that have ended or are about to, the first to end first."""
    return tuple(sorted((one for one in found if one.ends_soon(now)), key=lambda one: one.end))


def left(end: datetime, now: datetime) -> str:
    """Say how long a certificate is valid, or since when it is not, in days."""
    days = abs(end - now).days
    count = f"{days} day{'' if days == 1 else 's'}"
    return count if end > now else f"ended {count} ago"
