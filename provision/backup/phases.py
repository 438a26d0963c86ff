"""The phases in which containers come back whose disks have survived."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from provision.core.plane import Plane
from provision.docker.containers import Container
from provision.migration.phases import Connect, Start
from provision.migration.record import Migration
from provision.phases.networks import Networks


def as_migration(plane: Plane, containers: Sequence[Container]) -> Migration:
    """Return the containers as a migration would have recorded them: they come back in the same way."""
    return Migration(plane.name, plane.name, (), tuple(containers))


def returning(plane: Plane, containers: Sequence[Container]) -> Plane:
    """Return the control plane with the phases in which these containers come back, before keepers take addresses."""
    (place,) = (number for number, phase in enumerate(plane.phases, 1) if isinstance(phase, Networks))
    there = as_migration(plane, containers)
    changed = copy.copy(plane)
    changed.phases = (*plane.phases[:place], Connect(there), Start(there), *plane.phases[place:])
    return changed
