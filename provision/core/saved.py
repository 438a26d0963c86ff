"""What a backup contains. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.docker.containers import Container


@dataclass(frozen=True)
class Saved:
    """A cluster as it was when it was saved."""

    #: The control plane's name, and the cluster's.
    plane: str
    cluster: str
    #: When it was saved, in ISO 8601, UTC.
    moment: str
    #: Versions by what they are of: Docker on each node, etcd, this program.
    versions: Mapping[str, str] = field(default_factory=dict)
    #: What containers should have, on every node.
    containers: tuple[Container, ...] = ()
    #: What the control plane has saved, by its path in the archive: see `Coordinator.save`.
    files: Mapping[str, bytes] = field(default_factory=dict)
