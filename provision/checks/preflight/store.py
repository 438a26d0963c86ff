"""The store, its data and its certificates."""

from __future__ import annotations

from collections.abc import Iterator

from provision import layout, membership, pki
from provision.checks.preflight.scene import Scene, check, check_of_release
from provision.errors import Problem


@check_of_release
def etcd_version(scene: Scene) -> Iterator[Problem]:
    """Known to lose data below, without the v2 API above."""
    version, window = scene.situation.artifact.version, scene.plane.store_versions
    if scene.node.member and not window.holds(version):
        yield Problem(
            f"etcd {version} is outside {window}",
            advice="point etcd.source at a release inside, for example 3.5.30",
        )


@check
def foreign_store(scene: Scene) -> Iterator[Problem]:
    """Somebody else's etcd and its data are not ours to take over."""
    facts = scene.facts
    ours = layout.ETCD_BOOTSTRAP in facts.paths
    if scene.node.member and scene.value("etcd-data") == "yes" and not ours:
        yield Problem(
            f"{layout.DATA} holds data that this tool did not write",
            advice="move it away, or drop this node's membership (member: false)",
        )


@check
def same_authority(scene: Scene) -> Iterator[Problem]:
    """Certificates of an authority that this controller lacks: another's cluster, or a folder left behind."""
    path = scene.facts.paths.get(f"{layout.DOCKER_PKI}/ca.crt")
    identity = scene.situation.identity
    if path is None or path.text is None:
        return
    if not identity.recognises(pki.Authority.DOCKER, path.text.encode()):
        yield Problem(
            "this node holds certificates of an authority that this controller lacks",
            advice=f"bring {scene.situation.cluster.folder} over from the controller that made the cluster; where that "
            "is lost, fab certs --adopt makes new ones here and replaces all that the nodes hold",
        )


@check
def replaced_member(scene: Scene) -> Iterator[Problem]:
    """A member whose data is gone cannot simply start again under its old name."""
    known = membership.known(scene.situation) or ()
    url = membership.peer_url(scene.node)
    # Where a bootstrap was cut short members know each other, and nothing is lost.
    voted = membership.has_begun(scene.situation) and any(
        url in member.get("peerURLs", ()) and member.get("name") for member in known
    )
    # One that is being started at this moment makes its data in the next.
    starts = scene.facts.unit(layout.ETCD_UNIT).state == "activating"
    if voted and not starts and not membership.joining(scene.situation) and scene.value("etcd-data") != "yes":
        yield Problem(
            "the store still counts this node as a member, but its data is gone",
            advice="on a healthy member: etcdctl member remove; then run provision again, which adds it anew",
        )
