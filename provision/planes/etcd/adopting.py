"""A cluster taken over by a controller that has lost, or never had, its identity's folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from provision.core.plane import Goal
from provision.core.situation import Situation
from provision.errors import PreflightRefused, Problem, StepFailed
from provision.inventory.model import Node
from provision.pki.leaf import Leaf
from provision.planes.etcd import pki
from provision.planes.etcd.local import local
from provision.planes.etcd.phases.pki import Place, docker_places, etcd_places
from provision.remote import Remote, Remotes
from provision.resources import call


def adopt(situation: Situation, remotes: Remotes) -> Sequence[pki.RotationTarget]:
    """Take over what the nodes hold as the old side of a rotation. Where that cannot be, all of it is new at once."""
    cluster, identity = situation.cluster, local(situation).identity
    as_it_is = pki.targets(cluster.folder, Goal.CONVERGE)
    if all(identity.exists(name) for name in pki.Authority):
        return pki.remaining(cluster.folder) if identity.step else as_it_is
    if not any(place.key in situation.of(node).paths for node in cluster.nodes for place in _places(node)):
        words = "no node holds certificates: there is nothing to take over"
        raise PreflightRefused(Problem(words, "cluster", "fab provision makes them"))
    keys = remotes.each(_keys, situation.cluster.nodes)
    authorities: dict[pki.Authority, set[str]] = {name: set() for name in pki.Authority}
    pairs: dict[Leaf, tuple[bytes, bytes]] = {}
    for node in cluster.nodes:
        for place in _places(node):
            authorities[pki.Authority(place.leaf.authority)].add(_text(situation, node, place.authority))
            certificate = _text(situation, node, place.certificate).encode()
            pairs[place.leaf] = certificate, keys[node.name][place.key]
    return pki.remaining(cluster.folder) if pki.take_over(cluster, authorities, pairs) else as_it_is


def _places(node: Node) -> tuple[Place, ...]:
    return (*etcd_places(node), *docker_places(node))


def _text(situation: Situation, node: Node, path: str) -> str:
    there = situation.of(node).paths.get(path)
    return (there and there.text) or ""


def _keys(remote: Remote) -> Mapping[str, bytes]:
    """Return the keys of a node's leaves by path: they come over SSH, and are replaced in this run."""
    paths = [place.key for place in _places(remote.node)]
    script = "\n".join(f"{call('base64', '-w', '0', path)} 2>/dev/null; echo" for path in paths)
    result = remote.run(script, what="reading keys")
    if result.code:
        raise StepFailed(Problem("its keys cannot be read", remote.node.name, "nothing was changed"))
    return {path: base64.b64decode(line) for path, line in zip(paths, result.stdout.splitlines(), strict=True)}
