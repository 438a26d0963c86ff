"""What the controller keeps for a cluster on this plane: the release to push, and the identity."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.planes.etcd import pki
from provision.planes.etcd.release import Artifact


@dataclass(frozen=True)
class Local:
    """The etcd release, and the authorities and leaves made so far.

    `release` is the archive for every node. If the inventory names a version, it has only that, and `archives` has one
    for each of the nodes' CPUs as soon as these are known.
    """

    release: Artifact
    identity: pki.Identity
    #: For a store that is bootstrapped by this run.
    token: str = field(default_factory=lambda: f"overlay-{secrets.token_hex(8)}", compare=False)
    archives: Mapping[str, Artifact] = field(default_factory=dict)


def local(situation: Situation) -> Local:
    """Return what the controller keeps. TypeError where the situation is another plane's."""
    if not isinstance(situation.local, Local):
        raise TypeError(f"the situation holds {situation.local!r}")
    return situation.local


def release_for(situation: Situation, node: Node) -> Artifact:
    """Return the release that a node gets: the one for its CPU, if the inventory names a version."""
    kept = local(situation)
    return kept.archives.get(situation.of(node).values.get("machine", ""), kept.release)


def with_identity(situation: Situation, identity: pki.Identity) -> Situation:
    """Return the situation with other authorities or leaves."""
    return replace(situation, local=replace(local(situation), identity=identity))
