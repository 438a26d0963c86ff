"""Every certificate as it lies on the controller and on the nodes, and what to say where one has ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.core.plan import CONTROLLER
from provision.core.situation import Situation
from provision.core.validity import Certificate, left
from provision.errors import Problem
from provision.pki import certificates
from provision.planes.etcd import pki
from provision.planes.etcd.local import local
from provision.planes.etcd.phases.pki import docker_places, etcd_places


def found(situation: Situation) -> Iterator[Certificate]:
    """Yield the controller's certificates, then each node's as it was asked."""
    for kept in local(situation).identity.kept:
        yield Certificate(kept.what, f"{CONTROLLER}:{kept.path}", kept.end)
    for node in situation.cluster.nodes:
        for place in (*etcd_places(node), *docker_places(node)):
            leaf = place.leaf
            for what, path in ((f"authority {leaf.authority}", place.authority), (f"leaf {leaf}", place.certificate)):
                there = situation.of(node).paths.get(path)
                for certificate in certificates.load_all(((there and there.text) or "").encode()):
                    yield Certificate(what, f"{node.name}:{path}", certificate.not_valid_after_utc)


def warnings(situation: Situation) -> tuple[Problem, ...]:
    """Say what has ended, since when, and what renews it; and where a rotation has stopped half-way."""
    identity = local(situation).identity
    now, step = identity.moment, identity.step
    ended = {one.what: one.end for one in found(situation) if one.end <= now}
    problems = []
    if ended:
        told = ", ".join(f"{what} on {end:%Y-%m-%d} ({left(end, now)})" for what, end in ended.items())
        cure = (
            "fab certs --rotate --authority" if any(what.startswith("authority") for what in ended) else "fab provision"
        )
        what = f"certificates have ended, and whoever is shown one refuses it: {told}"
        problems.append(Problem(what, "cluster", f"{cure} makes new ones; fab certs says where each lies"))
    if step:
        what = f"a rotation of the authorities is at step {step.number} of {len(pki.Step)}"
        problems.append(Problem(what, CONTROLLER, "fab certs --rotate --authority goes on with it"))
    return tuple(problems)
