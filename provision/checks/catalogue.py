"""Every check there is: those of all control planes, and those of one, or of each that may be chosen."""

from __future__ import annotations

from provision.checks import preflight
from provision.core.check import PREFLIGHT, Check
from provision.core.plane import Plane


def of_preflight(*planes: Plane) -> tuple[Check, ...]:
    """Return the checks that are made before anything is touched."""
    return (*preflight.CHECKS, *(check for plane in planes for check in plane.checks() if check.suite == PREFLIGHT))


def of_verify(*planes: Plane) -> tuple[Check, ...]:
    """Return the checks that prove a cluster, by suite."""
    from provision.checks import verify

    return (*(check for plane in planes for check in plane.checks() if check.suite != PREFLIGHT), *verify.CHECKS)
