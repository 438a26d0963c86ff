"""What a backup contains. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    #: The nodes that did not answer: what containers should have there is not known.
    missing: tuple[str, ...] = ()
    #: What containers should have, on every node.
    containers: tuple[Container, ...] = ()
    #: The networks that come back, as Docker's API tells them: see `Plane.saved_networks`.
    networks: tuple[Mapping[str, Any], ...] = ()
    #: The inventory, and the files of the identity's folder by their path in it.
    inventory: bytes = field(default=b"", repr=False)
    identity: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    #: What the control plane has saved, by its path in the archive: see `Coordinator.save`.
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    #: The sha256 of the archive, in hex.
    checksum: str = ""
    #: The identity of the restore that uses it: new with every one, and the same when a killed one goes on.
    restore: str = ""
