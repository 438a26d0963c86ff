"""Preflight checks of etcd: its release, its data and its certificates."""

from __future__ import annotations

from collections.abc import Iterator

from provision import layout
from provision.checks import outgrown
from provision.checks.node_view import NodeView
from provision.core.check import PREFLIGHT, check
from provision.core.membership import majority
from provision.core.outcome import Outcome
from provision.core.recovery import ADVICE
from provision.inventory.document import ETCD_VERSION
from provision.phases.installation import docker_version
from provision.planes.etcd import membership, paths, validity
from provision.planes.etcd.local import local, release_for
from provision.planes.etcd.membership import minor
from provision.planes.etcd.release import UNKNOWN, VERSIONS

#: CPUs, as `uname -m` names them, on which etcd ends at once unless its version is 3.5 or later.
NOT_BEFORE_3_5 = ("aarch64", "s390x")


@check(PREFLIGHT)
def one_docker_version(view: NodeView) -> Iterator[Outcome]:
    """All nodes run the same version of Docker: the daemons share the store, and must agree on its format."""
    mine = docker_version(view.situation, view.node)
    upgraded = outgrown.versions(view.plane, view.situation)
    for other in view.others[:1]:
        if {view.node.name, other.name} & upgraded.keys():
            return  # docker_version says what to do
        theirs = docker_version(view.situation, other)
        if mine and theirs and mine.split(".")[:2] != theirs.split(".")[:2]:
            yield view.failed(
                f"Docker {mine} here, {theirs} on {other.name}",
                advice="install the same version on every node",
            )


@check(PREFLIGHT)
def etcd_version(view: NodeView) -> Iterator[Outcome]:
    """The etcd release is in the supported window: older ones may lose data, later ones lack the v2 API for Docker."""
    release = local(view.situation).release
    if release != UNKNOWN and view.node.member and not VERSIONS.holds(release.version):
        yield view.failed(
            f"etcd {release.version} is outside {VERSIONS}",
            advice="name a release inside, for example etcd: {version: 3.5.30}",
        )


@check(PREFLIGHT)
def etcd_goes_forward(view: NodeView) -> Iterator[Outcome]:
    """The etcd release is not older than the store: an older etcd refuses the store's data and ends at each start."""
    release = local(view.situation).release
    version = membership.store_version(view.situation)
    if release != UNKNOWN and view.node == view.situation.cluster.members[0] and minor(release.version) < version:
        at_least = ".".join(map(str, version))
        yield view.failed(
            f"etcd {release.version} is older than the store, which is at {at_least}: there is no way back",
            advice=f"name a release of {at_least} or later as etcd.version, or as etcd.source",
        )


@check(PREFLIGHT)
def foreign_store(view: NodeView) -> Iterator[Outcome]:
    """etcd's folder holds no data of another etcd: provision does not take over a store that it did not create."""
    facts = view.facts
    ours = paths.ETCD_BOOTSTRAP in facts.paths
    if view.node.member and view.facts.answers.get("store-data") and not ours:
        yield view.failed(
            f"{paths.DATA} holds data that this tool did not write",
            advice="move the data away, or make this node no member of the store (member: false)",
        )


@check(PREFLIGHT)
def same_authority(view: NodeView) -> Iterator[Outcome]:
    """The node's certificates are from an authority of this controller: another controller's cluster is not touched."""
    if view.node in validity.foreign(view.situation):
        yield view.failed(
            "this node holds certificates of an authority that this controller lacks",
            advice=f"copy {view.situation.cluster.folder} from the controller that made the cluster; if that folder is "
            "lost, fab certs --adopt makes new authorities here and replaces all certificates on the nodes",
        )


@check(PREFLIGHT)
def replaced_member(view: NodeView) -> Iterator[Outcome]:
    """A member has its data, or the store has a quorum: without data it joins anew, which needs one."""
    situation = view.situation
    if view.node not in membership.without_data(situation):
        return
    what = f"the store counts this node as a member, and none of its data is in {paths.DATA}"
    if membership.is_running(situation):
        if view.node not in membership.replaced(situation):
            yield view.failed(
                f"{what}, though its etcd runs",
                advice=f"systemctl stop {paths.ETCD_UNIT} on it; then provision lets it join anew",
            )
        return
    number = len(membership.known(situation) or ())
    yield view.failed(
        f"{what}; the others have no quorum: {majority(number)} of {number} members have to agree",
        advice="bring members back until a majority answers, with their disks; this one can then join anew; " + ADVICE,
    )


@check(PREFLIGHT)
def silent_store(view: NodeView) -> Iterator[Outcome]:
    """While no etcd runs nobody says who lost its data. A member that did would begin anew, and could undo writes."""
    situation = view.situation
    others = membership.with_log(situation, "yes")
    silent = membership.known(situation) is None and not any(
        situation.of(node).unit(paths.ETCD_UNIT).running for node in others
    )
    if others and silent and view.node in membership.with_log(situation, "no"):
        names = ", ".join(node.name for node in others)
        yield view.failed(
            f"none of the store's data is in {paths.DATA}, and no etcd runs that says whether it was lost",
            advice=f"systemctl start {paths.ETCD_UNIT} on {names}; then run this again",
        )


@check(PREFLIGHT)
def cpu(view: NodeView) -> Iterator[Outcome]:
    """The etcd release is for the node's CPU architecture: other binaries do not run."""
    release = release_for(view.situation, view.node)
    theirs, ours = view.value("machine"), release.cpu
    if ours and theirs != ours:
        yield view.failed(
            f"this host is {theirs}, but {release.path.name} is for {ours}",
            advice=f"write etcd: {{version: {release.version}}} in place of the source: it fits each node's CPU",
        )
    elif release != UNKNOWN and minor(release.version) < (3, 5) and theirs in NOT_BEFORE_3_5:
        yield view.failed(
            f"this host is {theirs}, and etcd {release.version} refuses to start there",
            advice=f"write etcd: {{version: {ETCD_VERSION}}}: etcd supports this CPU since 3.5",
        )


@check(PREFLIGHT)
def programs_run(view: NodeView) -> Iterator[Outcome]:
    """The file system of etcd's programs is not mounted noexec: etcd could not start."""
    programs = view.facts.spaces.get(paths.RELEASES)
    if programs and "noexec" in programs.options:
        yield view.failed(
            f"{programs.mount} is mounted noexec; etcd runs from {paths.RELEASES}",
            advice=f"mount -o remount,exec {programs.mount}",
        )


@check(PREFLIGHT)
def swarm_mode_only(view: NodeView) -> Iterator[Outcome]:
    """The inventory asks for nothing that Docker has only in swarm mode."""
    cluster = view.situation.cluster
    if view.node != cluster.nodes[0]:
        return
    asked = {
        f"overlay.networks.{network.name}.encrypted": "Docker encrypts with keys that only a swarm gives it"
        for network in cluster.networks
        if network.encrypted
    }
    if not cluster.ingress:
        asked["overlay.ingress"] = "only a swarm has a network ingress"
    if cluster.vxlan_port != layout.VXLAN_PORT:
        asked["overlay.vxlan_port"] = f"Docker takes another port than {layout.VXLAN_PORT} only when it makes a swarm"
    if cluster.certificate_days is not None:
        asked["docker.certificate_days"] = "the certificates of this mode are this tool's own: fab certs --rotate"
    for key, reason in asked.items():
        advice = "delete it, or begin anew in swarm mode (docker.control_plane: swarm)"
        yield view.failed(f"{key}: {reason}", advice)
