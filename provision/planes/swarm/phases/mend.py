"""The program that stays beside dockerd: it starts containers that Docker has given up, and watches gossip."""

from __future__ import annotations

from provision import layout
from provision.core.phase import Phase
from provision.core.situation import Situation
from provision.facts import INPUTS
from provision.inventory.model import Node
from provision.planes.swarm import paths
from provision.planes.swarm.phases.docker import mend_program
from provision.resources import File, Folder, Resource, Service
from provision.templates import render


class Mend(Phase):
    """The list of the cluster's addresses, the program's unit and its service."""

    name = "mend"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return what the program reads, and its service; the program is there since the phase of Docker."""
        peers = "".join(f"{one.address}\n" for one in situation.cluster.nodes)
        inputs = (layout.MEND_PROGRAM, layout.MEND_UNIT_FILE)
        text = render(
            "swarm/overlay-mend.service.j2",
            cluster=situation.cluster.name,
            program=layout.MEND_PROGRAM,
            unit=layout.MEND_UNIT,
            inputs=inputs,
            inputs_folder=INPUTS,
        )
        files = mend_program(), File(layout.MEND_UNIT_FILE, text)
        return (
            Folder(layout.DOCKER),
            Folder(layout.DOCKER_OURS, 0o700),
            File(paths.PEERS, peers.encode()),
            files[1],
            Service(layout.MEND_UNIT, tuple((file.path, file.fit) for file in files), waited_for=False),
        )
