"""Who trusts whom while some nodes are as a step of a rotation wants them and the others are not yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from provision.core.situation import Situation
from provision.inventory.model import Node
from provision.planes.etcd import pki
from provision.planes.etcd.local import local
from provision.planes.etcd.phases.pki import docker_places, etcd_places
from provision.planes.etcd.pki import Authority, Step
from provision.planes.etcd.plane import PLANE
from provision.resources import File

#: What each step of a rotation restarts, in order.
RESTARTS = {
    Step.TRUST: ["node1: restart unit etcd.service", "node2: restart unit etcd.service"],
    Step.LEAVES: [f"{name}: restart unit docker.service" for name in ("node1", "node2", "node3")],
    Step.DROP: ["node1: restart unit etcd.service", "node2: restart unit etcd.service"],
}


def content(situation: Situation, node: Node, path: str) -> bytes:
    (found,) = (
        resource.content
        for phase in PLANE.phases
        for resource in phase.resources(situation, node)
        if isinstance(resource, File) and resource.path == path
    )
    assert found is not None
    return found


def accepts(trusted: bytes, leaf: bytes) -> bool:
    """What a TLS library does with a leaf, as far as authorities go."""
    shown = x509.load_pem_x509_certificate(leaf)
    for authority in x509.load_pem_x509_certificates(trusted):
        try:
            shown.verify_directly_issued_by(authority)
        except (ValueError, InvalidSignature):
            continue
        return True
    return False


class Held:
    """What each node holds while some are as a step wants them and the others as the step before did."""

    def __init__(self, states: Mapping[str, Situation]) -> None:
        self.states = states

    def at(self, node: Node, path: str) -> bytes:
        return content(self.states[node.name], node, path)

    def refusals(self, controller: Situation) -> Iterator[str]:
        """Yield each handshake that is needed and fails. The controller has taken the step already."""
        cluster, mine = controller.cluster, local(controller).identity
        peer, server = ({node.name: etcd_places(node)[i] for node in cluster.members} for i in (0, 1))
        for member in cluster.members:
            for other in cluster.members:
                if not accepts(
                    self.at(member, peer[member.name].authority), self.at(other, peer[other.name].certificate)
                ):
                    yield f"{member.name} refuses its peer {other.name}"
            clients = {node.name: self.at(node, docker_places(node)[1].certificate) for node in cluster.nodes}
            clients["controller"] = (mine.get(pki.CONTROLLER_STORE) or pytest.fail("no leaf")).certificate
            for name, leaf in clients.items():
                if not accepts(self.at(member, server[member.name].authority), leaf):
                    yield f"{member.name} refuses its client {name}"
            trusted = mine.authority_path(Authority.CLIENT).read_bytes()
            if not accepts(trusted, self.at(member, server[member.name].certificate)):
                yield f"the controller refuses {member.name}"
        for node in cluster.nodes:
            trusted = self.at(node, docker_places(node)[1].authority)
            shown = [self.at(member, server[member.name].certificate) for member in cluster.members]
            if not any(accepts(trusted, leaf) for leaf in shown):
                yield f"dockerd of {node.name} refuses every member"
