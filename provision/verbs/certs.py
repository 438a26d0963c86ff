"""certs: every certificate and its end; leaves and authorities renewed; a cluster taken over by a new controller."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from provision import pki, validity
from provision.checks import preflight
from provision.errors import PreflightRefused, Problem, StepFailed, UsageError
from provision.inventory.model import Node
from provision.phases.pki import Place, docker_places, etcd_places
from provision.remote import Remote
from provision.report import Report, Table
from provision.resources import call
from provision.situation import Situation
from provision.verbs.converge import AS_IT_IS, converged, planned
from provision.verbs.session import Session

#: What preflight refuses, and `--adopt` is for.
FOREIGN = "same-authority"


def run_certs(
    session: Session, *, rotate: bool, authority: bool, plan: bool, adopt: bool, yes: bool, ignore: Sequence[str]
) -> Report:
    """Show certificates; with `rotate` renew all leaves, with `authority` the authorities; with `adopt` take over."""
    if ((authority or plan) and not rotate) or (adopt and rotate):
        advice = (
            "--rotate: all leaves; with --authority: the authorities too; with --plan: only say what. --adopt: alone"
        )
        raise UsageError(Problem("these flags do not go together", "certs", advice))
    ignored = preflight.choose(ignore)
    if adopt:
        return converged(session, "certs", _adopted(session), yes=yes, ignored=ignored | {FOREIGN})
    if not rotate:
        return _shown(session)
    # A certificate knows no fraction of a second.
    leaves = (pki.Aim(leaves_since=datetime.now(UTC).replace(microsecond=0)),)
    aims = pki.remaining(session.cluster.folder) if authority else leaves
    if plan:
        return planned(session, "certs", aims, exit_code=False, ignored=ignored)
    return converged(session, "certs", aims, yes=yes, ignored=ignored)


def _shown(session: Session) -> Report:
    with session.looked() as look:
        found = tuple(validity.found(look.situation))
        warnings = (*look.unreached, *validity.warnings(look.situation))
    now = look.situation.identity.moment
    rows = tuple((one.what, f"{one.end:%Y-%m-%d}", validity.left(one.end, now), one.where) for one in found)
    first = min(found, key=lambda one: one.end, default=None)
    return Report(
        "certs",
        f"{len(rows)} certificates; the first to end: {first.what}, {validity.left(first.end, now)}"
        if first
        else "there are no certificates yet: provision makes them",
        tables=(Table("certificates", "Certificates", ("certificate", "end", "left", "where"), rows),),
        warnings=warnings,
    )


def _adopted(session: Session) -> Sequence[pki.Aim]:
    """Take over what the nodes hold as the old side of a rotation. Where that cannot be, all of it is new at once."""
    cluster = session.cluster
    with session.asked("certs") as (remotes, situation):
        identity = situation.identity
        if all(identity.exists(name) for name in pki.Authority):
            return pki.remaining(cluster.folder) if identity.step else AS_IT_IS
        if not any(place.key in situation.of(node).paths for node in cluster.nodes for place in _places(node)):
            words = "no node holds certificates: there is nothing to take over"
            raise PreflightRefused(Problem(words, "cluster", "fab provision makes them"))
        keys = remotes.each(_keys)
        authorities: dict[pki.Authority, set[str]] = {name: set() for name in pki.Authority}
        pairs: dict[pki.Leaf, tuple[bytes, bytes]] = {}
        for node in cluster.nodes:
            for place in _places(node):
                authorities[place.leaf.authority].add(_text(situation, node, place.authority))
                certificate = _text(situation, node, place.certificate).encode()
                pairs[place.leaf] = certificate, keys[node.name][place.key]
        return pki.remaining(cluster.folder) if pki.take_over(cluster, authorities, pairs) else AS_IT_IS


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
