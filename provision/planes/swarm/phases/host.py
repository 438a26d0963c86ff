"""The host: a record of what was here."""

from __future__ import annotations

from provision import layout
from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.resources import Folder, Resource


class Host(Phase):
    """What has to be on a host before anything is changed."""

    name = "host"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return the record's folder."""
        return (Folder(layout.STATE, 0o700),)
