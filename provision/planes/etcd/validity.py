"""Every certificate as it lies on the controller and on the nodes, and what to say where one has ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from provision.core.plan import CONTROLLER
from provision.core.situation import Situation
from provision.core.validity import Certificate, left
from provision.errors import Problem
from provision.inventory.model import Node
from provision.pki import certificates
from provision.planes.etcd import paths, pki
from provision.planes.etcd.local import local
from provision.planes.etcd.phases.pki import docker_places, etcd_places
from provision.recovery import generations


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


def foreign(situation: Situation) -> tuple[Node, ...]:
    """Return the hosts with certificates of an authority that this controller lacks: they are another controller's.

    Beside nodes that are ours, one that was given up in a recovery may have those of ours that was replaced since.
    """
    identity, path = local(situation).identity, f"{paths.DOCKER_PKI}/ca.crt"
    there = ((node, situation.of(node).paths.get(path)) for node in situation.cluster.hosts)
    shown = {node: one.text.encode() for node, one in there if one and one.text is not None}
    others = tuple(node for node, pem in shown.items() if not identity.recognises(pki.Authority.DOCKER, pem))
    names = [one.subject for one in identity.authorities[pki.Authority.DOCKER]]
    lost = generations.lost(situation) if len(others) < len(shown) else ()

    def was_ours(node: Node) -> bool:
        return node.address in lost and any(one.subject in names for one in certificates.load_all(shown[node]))

    return tuple(node for node in others if not was_ours(node))


def without_authorities(situation: Situation) -> tuple[Problem, ...]:
    """Say that the controller does not hold the authorities by which the nodes know it."""
    identity, folder = local(situation).identity, situation.cluster.folder
    authorities = (pki.Authority.CLIENT, pki.Authority.DOCKER)
    if not foreign(situation) and all(map(identity.exists, authorities)):
        return ()
    what = f"no certificate to ask with: {folder} does not hold the authorities that made the nodes' certificates"
    advice = (
        f"copy {folder} from the controller that made the cluster; if that folder is lost, fab certs --adopt makes "
        "new authorities here and replaces all certificates on the nodes"
    )
    return (Problem(what, CONTROLLER, advice),)


def unasked(situation: Situation) -> tuple[Problem, ...]:
    """Say which certificate the controller lacks to ask the members, or the dockerds: else each check says it anew."""
    if problems := without_authorities(situation):
        return problems
    identity = local(situation).identity
    lacking = [leaf for leaf in (pki.CONTROLLER_STORE, pki.CONTROLLER_DOCKER) if leaf not in identity.accepted]
    what = "no certificate to ask with"
    return tuple(
        Problem(f"{what}: {_unfit(identity, leaf)}", CONTROLLER, "fab provision makes it anew") for leaf in lacking
    )


def _unfit(identity: pki.Identity, leaf: pki.Leaf) -> str:
    """Say why the daemons accept a leaf of the controller no more."""
    path, key = identity.paths(leaf)
    end = next((kept.end for kept in identity.kept if kept.path == path), None)
    if end is None:
        return f"{path} is missing"
    if end <= identity.moment:
        return f"{path} ended on {end:%Y-%m-%d} ({left(end, identity.moment)})"
    return f"{path} or {key.name} is damaged, or was made by an authority that is no longer trusted"


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
        if identity.pinned:
            what += "; a recovery has begun it, and the hosts that were lost are shut out already"
        problems.append(Problem(what, CONTROLLER, "fab certs --rotate --authority goes on with it"))
    return tuple(problems)
