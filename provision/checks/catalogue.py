"""Every check there is: those of all control planes, and those of the one that is chosen."""

from __future__ import annotations

from provision.checks import preflight
from provision.core.check import PREFLIGHT, Check
from provision.core.plane import Plane


def of_preflight(plane: Plane) -> tuple[Check, ...]:
    """Return the checks that are made before anything is touched."""
    return (*preflight.CHECKS, *(check for check in plane.checks() if check.suite == PREFLIGHT))


def of_verify(plane: Plane) -> tuple[Check, ...]:
    """Return the checks that prove a cluster, by suite."""
    from provision.checks import verify

    return (*(check for check in plane.checks() if check.suite != PREFLIGHT), *verify.CHECKS)
