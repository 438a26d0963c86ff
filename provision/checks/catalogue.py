"""All checks: those of every control plane, and those of one control plane or of several candidates."""

from __future__ import annotations

from provision.checks import preflight
from provision.core.check import PREFLIGHT, Check
from provision.core.plane import Plane


def of_preflight(*planes: Plane) -> tuple[Check, ...]:
    """Return the checks that run before anything is changed."""
    return (*preflight.CHECKS, *(check for plane in planes for check in plane.checks() if check.suite == PREFLIGHT))


def of_verify(*planes: Plane) -> tuple[Check, ...]:
    """Return the checks that prove a cluster, by suite."""
    from provision.checks import verify

    return (*(check for plane in planes for check in plane.checks() if check.suite != PREFLIGHT), *verify.CHECKS)
