"""Obstacles found before anything is touched. Every check sees facts only, so it cannot change a thing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from provision import layout, membership, pki
from provision.checks import Outcome
from provision.control_plane import ControlPlane
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory.model import Node
from provision.situation import Situation


@dataclass(frozen=True)
class Scene:
    """What a check looks at: one node among the others."""

    plane: ControlPlane
    situation: Situation
    node: Node

    @property
    def facts(self) -> Facts:
        """What is so on this node."""
        return self.situation.of(self.node)

    def value(self, name: str) -> str:
        """Return a surveyed value, empty where there is none."""
        return self.facts.values.get(name, "")

    @property
    def others(self) -> tuple[Node, ...]:
        """The nodes before this one: what clashes is said once."""
        nodes = self.situation.cluster.nodes
        return nodes[: nodes.index(self.node)]


Check = Callable[[Scene], Iterator[Problem]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check under the name of its function."""
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


def run(plane: ControlPlane, situation: Situation) -> tuple[Outcome, ...]:
    """Run every check on every node. Pure."""
    return tuple(
        outcome
        for node in situation.cluster.nodes
        for name, function in CHECKS.items()
        for outcome in _outcomes(name, function, Scene(plane, situation, node))
    )


def _outcomes(name: str, function: Check, scene: Scene) -> list[Outcome]:
    problems = list(function(scene))
    if not problems:
        return [Outcome(name, scene.node.name, "passed", "as it should be")]
    return [Outcome(name, scene.node.name, "failed", problem.what, problem.advice) for problem in problems]


def version_of(text: str) -> str:
    """Return the first version in a program's own words, empty where there is none."""
    found = re.search(r"\d+\.\d+\.\d+", text)
    return found[0] if found else ""


@check
def root(scene: Scene) -> Iterator[Problem]:
    """Everything after this needs it."""
    if scene.value("root") != "0":
        yield Problem("scripts do not run as root here", advice="give the login user sudo, or log in as root")


@check
def systemd(scene: Scene) -> Iterator[Problem]:
    """Units and drop-ins are how daemons are run."""
    if scene.value("init") != "systemd":
        yield Problem(
            f"process 1 is {scene.value('init') or 'unknown'}, not systemd",
            advice="use a host that boots with systemd",
        )


@check
def vxlan(scene: Scene) -> Iterator[Problem]:
    """Packets cross hosts in it."""
    if scene.value("vxlan") != "yes":
        yield Problem(
            f"kernel {scene.value('kernel')} has no vxlan",
            advice="install the distribution's full kernel image",
        )


@check
def address(scene: Scene) -> Iterator[Problem]:
    """The other nodes and the daemons here use it."""
    addresses = scene.value("addresses").split()
    if addresses and scene.node.address not in addresses:
        yield Problem(
            f"{scene.node.address} is no address of this host; it has {', '.join(addresses)}",
            advice="correct the address in the inventory; where you connect to another one, say so with ssh: {host: …}",
        )


@check
def docker_version(scene: Scene) -> Iterator[Problem]:
    """Present, and one that still has the cluster store."""
    version = version_of(scene.value("dockerd"))
    window = scene.plane.docker_versions
    if not version:
        yield Problem("Docker is not installed", advice="apt-get install docker.io (Debian 12), or Docker CE 20.10")
    elif not window.holds(version):
        newer = tuple(map(int, version.split("."))) >= window.limit
        reason = f": {scene.plane.docker_reason}" if newer else ""
        yield Problem(
            f"Docker {version} is outside {window}{reason}",
            advice="install Docker 20.10 (Debian 12: docker.io)",
        )
    elif not scene.value("docker-cli"):
        yield Problem("the docker command line is missing", advice="apt-get install docker-cli, or docker-ce-cli")


@check
def one_docker_version(scene: Scene) -> Iterator[Problem]:
    """Networks are shared between daemons, so they must agree on their form."""
    mine = version_of(scene.value("dockerd"))
    for other in scene.others[:1]:
        theirs = version_of(scene.situation.of(other).values.get("dockerd", ""))
        if mine and theirs and mine.split(".")[:2] != theirs.split(".")[:2]:
            yield Problem(
                f"Docker {mine} here, {theirs} on {other.name}",
                advice="install the same version on every node",
            )


@check
def etcd_version(scene: Scene) -> Iterator[Problem]:
    """Known to lose data below, without the v2 API above."""
    version, window = scene.situation.artifact.version, scene.plane.store_versions
    if scene.node.member and not window.holds(version):
        yield Problem(
            f"etcd {version} is outside {window}",
            advice="point etcd.source at a release inside, for example 3.5.30",
        )


@check
def cpu(scene: Scene) -> Iterator[Problem]:
    """Another CPU's binaries do not run."""
    theirs, ours = scene.value("machine"), scene.situation.artifact.cpu
    if scene.node.member and theirs != ours:
        yield Problem(
            f"this host is {theirs}, {scene.situation.artifact.path.name} is for {ours}",
            advice=f"use the etcd release for {theirs}",
        )


@check
def hostname(scene: Scene) -> Iterator[Problem]:
    """Docker's gossip names hosts by it: two of one name drop out in turn."""
    mine = scene.value("hostname")
    for other in scene.others:
        if mine and mine == scene.situation.of(other).values.get("hostname"):
            yield Problem(
                f"the hostname {mine} is that of {other.name} too",
                advice=f"hostnamectl set-hostname {scene.node.name}, on this host",
            )


@check
def one_machine_one_entry(scene: Scene) -> Iterator[Problem]:
    """A clone, or one host listed twice."""
    mine = scene.value("machine-id")
    for other in scene.others:
        if mine and mine == scene.situation.of(other).values.get("machine-id"):
            yield Problem(
                f"/etc/machine-id is that of {other.name} too: one host listed twice, or a clone",
                advice="correct the inventory; on a clone: rm /etc/machine-id && systemd-machine-id-setup, reboot",
            )


@check
def ports(scene: Scene) -> Iterator[Problem]:
    """What we need must be free, or held by our own daemons."""
    ours = {layout.STORE_PORT: layout.ETCD_UNIT, layout.PEER_PORT: layout.ETCD_UNIT}
    for listener in scene.facts.listeners:
        unit = scene.facts.unit(ours.get(listener.port, layout.DOCKER_UNIT))
        # 4789 is held by the kernel and has no process; only a cluster of ours makes Docker open it.
        in_kernel = listener.port == layout.VXLAN_PORT and listener.owner == "unknown"
        if unit.inputs and (in_kernel or f"pid={unit.process}," in listener.owner):
            continue
        owner = re.sub(r'users:\(\("([^"]+)",pid=(\d+).*', r"\1 (process \2)", listener.owner)
        yield Problem(
            f"port {listener.port}/{listener.protocol} is taken by {owner}",
            advice=f"stop it, or move it: see `ss -lntup sport = :{listener.port}` there",
        )


@check
def daemon_json(scene: Scene) -> Iterator[Problem]:
    """A key both there and on the command line stops dockerd from starting."""
    text = scene.value("daemon-json")
    if not text.strip():
        return
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("no object")
    except ValueError as error:
        yield Problem(f"/etc/docker/daemon.json is not JSON: {error}", advice="mend it: dockerd would not start")
        return
    clashes = settings.keys() & {
        "hosts",
        "tls",
        "tlsverify",
        "tlscacert",
        "tlscert",
        "tlskey",
        "cluster-store",
        "cluster-advertise",
        "cluster-store-opts",
    }
    if clashes:
        yield Problem(
            f"/etc/docker/daemon.json sets {', '.join(sorted(clashes))}, which we set as flags: dockerd refuses both",
            advice="remove them from daemon.json",
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
            advice=f"bring {scene.situation.cluster.folder} over from the controller that made the cluster",
        )


@check
def overlap(scene: Scene) -> Iterator[Problem]:
    """A network that a node already routes elsewhere would be cut off by the overlay."""
    for network in scene.situation.cluster.networks:
        for route in scene.value("routes").split(";"):
            words = route.split()
            # Docker's own bridges carry the overlay's other side; only routes of other devices count.
            device = words[words.index("dev") + 1] if "dev" in words[:-1] else ""  # none: more than one way
            if not words or device.startswith(("ov-", "br0", "vx-")):
                continue
            target = words[0] if "/" in words[0] else f"{words[0]}/32"
            if re.fullmatch(r"[\d./]+", target) and IPv4Network(target, strict=False).overlaps(network.subnet):
                yield Problem(
                    f"network {network.name} ({network.subnet}) overlaps the route {route.strip()}",
                    advice="give it another subnet in the inventory",
                )


@check
def replaced_member(scene: Scene) -> Iterator[Problem]:
    """A member whose data is gone cannot simply start again under its old name."""
    known = membership.known(scene.situation) or ()
    url = membership.peer_url(scene.node)
    voted = any(url in member.get("peerURLs", ()) and member.get("name") for member in known)
    if voted and not membership.joining(scene.situation) and scene.value("etcd-data") != "yes":
        yield Problem(
            "the store still counts this node as a member, but its data is gone",
            advice="on a healthy member: etcdctl member remove; then run provision again, which adds it anew",
        )
