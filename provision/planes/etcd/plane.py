"""Docker's own overlay with its cluster store in etcd: what Docker called `--cluster-store`, up to 20.10."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from provision import layout
from provision.core.check import Check, collect
from provision.core.phase import Phase
from provision.core.plane import Goal, Plane, Stage
from provision.core.recovery import Recovery, Standing
from provision.core.resource import call
from provision.core.saved import Saved
from provision.core.situation import Situation, is_shared
from provision.core.validity import Certificate
from provision.errors import PreflightRefused, Problem, Unanswered
from provision.facts import Facts, Question, join
from provision.inventory.model import Cluster, EtcdRelease, Node
from provision.phases import upgrade
from provision.phases.departure import PutBack, Withdrawal, settled
from provision.phases.firewall import Firewall
from provision.phases.images import Images
from provision.phases.installation import Installation
from provision.phases.keepers import Keepers
from provision.phases.networks import Networks
from provision.planes.etcd import (
    adopting,
    disk,
    leaving,
    membership,
    paths,
    pki,
    recovery,
    release,
    strangers,
    validity,
)
from provision.planes.etcd.coordinator import EtcdCoordinator
from provision.planes.etcd.local import Local, local, with_identity
from provision.planes.etcd.node import follow_up, functions
from provision.planes.etcd.phases.docker import Docker, joins_when_it_starts
from provision.planes.etcd.phases.etcd import Etcd
from provision.planes.etcd.phases.host import Host
from provision.planes.etcd.phases.members import Leave, Lost
from provision.planes.etcd.phases.pki import Certificates
from provision.planes.etcd.phases.quorum import Quorum
from provision.planes.etcd.phases.strangers import Strangers
from provision.planes.etcd.ports import PORTS
from provision.recovery import generations
from provision.recovery.generations import Generations
from provision.remote import Remotes
from provision.versions import Window


def _is_in(situation: Situation, node: Node) -> bool:
    """Say whether a node's dockerd is on the store."""
    return joins_when_it_starts(situation.of(node))


class EtcdPlane(Plane):
    """The cluster store: etcd on the members, and every dockerd on it."""

    name = "etcd"
    # 20.10 is the first with version 1.41 of the API (provision/docker/client.py), and the last before 23.
    docker_versions = Window(lowest=((20, 10),), limit=(23,))
    docker_reason = "Docker 23 and later refuse --cluster-store: support for external key-value stores was removed"
    docker_advice = "install Docker 20.10 (Debian 12: apt-get install docker.io)"
    outgrown_means = "no container on the cluster's networks starts here, others run"
    outgrown_advice = "fab migrate --plan shows how the cluster goes on with swarm mode"
    upgrade_advice = "first leave etcd behind: fab migrate --plan, then fab migrate; then upgrade Docker"
    ports = PORTS
    traces = (paths.DOCKER_STORE,)
    authorities = (f"{paths.DOCKER_PKI}/ca.crt",)
    services = (paths.ETCD_UNIT,)
    phases: tuple[Phase, ...] = (
        Installation(),
        Host(),
        Certificates(),
        Firewall(
            lambda _: PORTS,
            before=(paths.ETCD_UNIT, layout.DOCKER_UNIT),
            guests=leaving.let_in,
            removed=generations.given_up,
        ),
        Lost(),
        Etcd(),
        Generations(Etcd.lists_recoveries),
        upgrade.Upgrade(_is_in, lambda _, node: node.member, lambda *_: ""),
        Docker(),
        Images(lambda situation: bool(situation.guests)),
        Quorum(),
        Strangers(),
        Networks(membership.networks_wait),
        Keepers(membership.networks_wait),
        Withdrawal(partial(functions, "reset"), joins_when_it_starts),
        Leave(),
        PutBack(partial(functions, "reset")),
    )
    renewal = "fab provision renews leaves, fab certs --rotate --authority makes new authorities"
    node_columns = ("rows mended",)
    kept_data = f"{paths.DATA}/removed-…"
    daemon_keys = frozenset(
        {
            *("hosts", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey"),
            *("cluster-store", "cluster-advertise", "cluster-store-opts"),
        }
    )
    # Slow imports, loaded while the connections are made.
    modules = ("docker.types", "etcd3")
    libraries = ("etcd3", "protobuf", "urllib3")

    def keeps(self, cluster: Cluster) -> bool:
        """Say whether there is an authority for the store's members."""
        return (cluster.folder / pki.Authority.PEER).is_dir()

    def is_on(self, facts: Facts) -> bool:
        """Say whether the node's dockerd is told of the store."""
        return paths.DOCKER_STORE in facts.paths

    def holds_data(self, facts: Facts) -> bool:
        """Say whether the node has a log of the store that we set up."""
        return paths.ETCD_BOOTSTRAP in facts.paths and facts.answers.get("store-log", "").strip() == "yes"

    def disowned(self, facts: Facts) -> Facts:
        """Leave out what its member says, and networks that hosts share."""
        answers = {name: answer for name, answer in facts.answers.items() if name not in membership.TOLD}
        return replace(facts, answers=answers, networks=tuple(one for one in facts.networks if not is_shared(one)))

    def local(self, cluster: Cluster) -> tuple[Local, tuple[Problem, ...]]:
        """Return the release and the identity; a release that will not do is a problem, a damaged identity an error."""
        problems: tuple[Problem, ...] = ()
        artifact = release.UNKNOWN
        try:
            artifact = release.load(cluster)
        except PreflightRefused as error:
            problems = error.problems
        return Local(artifact, pki.Identity.read(cluster)), problems

    def supplied(self, situation: Situation, say: Callable[[str], None]) -> tuple[Situation, tuple[Problem, ...]]:
        """Return the situation with the release for each node's CPU, if the inventory names it by its version."""
        etcd = situation.cluster.etcd
        if not isinstance(etcd, EtcdRelease):
            return situation, ()
        cpus: dict[str, list[str]] = {}
        for node in situation.cluster.nodes:
            if cpu := situation.of(node).values.get("machine"):
                cpus.setdefault(cpu, []).append(node.name)
        found, problems = release.archives(etcd, cpus, say)
        return replace(situation, local=replace(local(situation), archives=found)), problems

    def describe_local(self, situation: Situation) -> str:
        """Say which release the nodes get."""
        kept = local(situation)
        return "; ".join(map(str, kept.archives.values() or [kept.release]))

    def question(self, situation: Situation, node: Node) -> Question:
        """Ask for the member that runs there, what it knows of the others, what lies in its data folder, and which
        endpoints belong to hosts that are no nodes."""
        addresses = (one.address for one in situation.cluster.nodes)
        own = Question(
            # Of every node: who is no member in this inventory may be one in the store.
            paths=(paths.ETCD_BOOTSTRAP, *paths.ETCD_KEYS, layout.DOCKER_DROP_IN),
            shown=(paths.ETCD_BOOTSTRAP,),
            units=(paths.ETCD_UNIT, layout.DOCKER_UNIT),
            spaces=tuple(disk.needs(situation, node)),
            functions=(functions("facts"),),
            calls=("fact_docker_packages", "fact_store_data", "fact_store_log", "fact_store_in_use"),
            slow_calls=("fact_members", call("fact_endpoints", *addresses)),
        )
        return join([own, upgrade.question(situation.cluster)])

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say which members can neither bootstrap nor join, and which change of members would cost the majority."""
        return leaving.blockers(situation)

    def unasked(self, situation: Situation) -> tuple[Problem, ...]:
        """Say which certificate the controller lacks to ask the members and dockerds."""
        return validity.unasked(situation)

    def outage(self, situation: Situation) -> tuple[Problem, ...]:
        """Say that the store has no quorum."""
        return membership.warnings(situation)

    def warnings(self, situation: Situation) -> tuple[Problem, ...]:
        """Say which certificates have ended, where a rotation has stopped, and what stays on hosts that leave."""
        return (*validity.warnings(situation), *leaving.warnings(situation), *strangers.warnings(situation))

    def whole(self, situation: Situation) -> Situation:
        """Return the situation in which nobody is leaving."""
        return settled(situation)

    def follow_up(self, situation: Situation) -> Mapping[str, str]:
        """Ask one member whether those that are to leave answer, which decides when they go. Ask members without data
        again, whether they answer or not: one that has just started for the first time has some by now. If hosts that
        are no nodes have endpoints, ask the nodes whether these hosts live."""
        calls: dict[str, list[str]] = {node.name: ["fact_store_log"] for node in membership.without_data(situation)}
        urls = membership.client_urls(situation) if membership.is_running(situation) else ()
        member = next((name for name, facts in situation.facts.items() if membership.member_status(facts)), None)
        if urls and member:
            calls.setdefault(member, []).append(call("fact_health", *urls))
        if hosts := strangers.endpoints(situation):
            for node in strangers.asked(situation):
                calls.setdefault(node.name, []).append(call("fact_strangers", *hosts))
        return {name: follow_up(*wanted) for name, wanted in calls.items()}

    def stages(self, situation: Situation, goal: Goal) -> tuple[Stage, ...]:
        """Return those in which members leave, or the steps of a rotation that are left."""
        if goal is Goal.CONVERGE:
            return leaving.stages(situation)
        if leaving.leavers(situation):
            what = f"{', '.join(leaving.leavers(situation))}: is about to leave, and its certificates cannot be renewed"
            raise PreflightRefused(Problem(what, "cluster", "fab provision lets it leave first; or bring it back"))
        leaving.refuse_replaced(situation, "fab provision lets them join anew first")
        return tuple(_stage(target) for target in pki.targets(situation.cluster.folder, goal))

    def adoption(self, situation: Situation, remotes: Remotes) -> tuple[Stage, ...]:
        """Take over what the nodes hold as the old side of a rotation."""
        leaving.refuse_replaced(situation, "on a healthy member: etcdctl member remove; then run this again")
        return tuple(_stage(target) for target in adopting.adopt(situation, remotes))

    def certificates(self, situation: Situation) -> Iterator[Certificate]:
        """Walk the controller's certificates, then each node's."""
        return validity.found(situation)

    def checks(self) -> tuple[Check, ...]:
        """Return the checks of etcd, the store, its certificates, and the rows of Docker's networks."""
        from provision.planes.etcd import preflight
        from provision.planes.etcd.suites import endpoints, key_permissions, members, security, store

        return collect(preflight, members, store, endpoints, security, key_permissions)

    def disk_needs(self, situation: Situation, node: Node) -> Mapping[str, tuple[str, int]]:
        """Return what the release and the store take on a member."""
        return disk.needs(situation, node)

    def on_the_network(self, situation: Situation, node: Node) -> bool:
        """Say whether dockerd answers and was started on the store, and the controller may come to it."""
        facts, certificate = situation.of(node), local(situation).identity.get(pki.CONTROLLER_DOCKER)
        return facts.docker_answers and bool(facts.unit(layout.DOCKER_UNIT).inputs) and certificate is not None

    def counts_on(self, situation: Situation, node: Node) -> bool:
        """Say whether the store lists the node."""
        return any(member.url == membership.peer_url(node) for member in membership.membership(situation).found)

    def node_functions(self, purpose: str) -> str:
        """Return bundle.sh or reset.sh of this plane."""
        return functions(purpose)

    def kept_networks(self, remotes: Remotes, cluster: Cluster) -> tuple[Mapping[str, Any], ...]:
        """Return those that the store has."""
        from provision.planes.etcd import networks

        identity = pki.Identity.read(cluster)
        if identity.get(pki.CONTROLLER_STORE) is None:
            return ()
        coordinator = EtcdCoordinator(cluster, remotes, identity)
        try:
            return networks.kept(coordinator)
        except Unanswered as error:
            what = f"nobody tells which networks there are: Docker lists none, and no etcd answers: {error}"
            advice = f"systemctl start {paths.ETCD_UNIT} on a majority of the members; then run this again"
            raise PreflightRefused(Problem(what, "cluster", advice)) from error
        finally:
            coordinator.close()

    def saved_networks(self, situation: Situation, files: Mapping[str, bytes]) -> Iterable[Mapping[str, Any]]:
        """Return those of the saved keys."""
        from provision.planes.etcd import networks, tree

        return networks.told(tree.of(files).networks.values())

    def restoring(self, saved: Saved) -> Plane:
        """Return this control plane with the phases in which the store is made anew, with the saved keys."""
        from provision.planes.etcd.restoring import Restoring

        return Restoring(saved)

    def standings(self, situation: Situation) -> tuple[Standing, ...]:
        """Return which nodes are members, and what each of these knows."""
        return recovery.standings(situation)

    def asked_for_recovery(self, situation: Situation) -> Mapping[str, str]:
        """Ask each node for the endpoints and the networks that its member has."""
        return dict.fromkeys(situation.facts, follow_up("fact_store_endpoints", "fact_store_networks"))

    def lost_containers(self, situation: Situation, address: str) -> tuple[str, ...]:
        """Return those that have an endpoint in the store."""
        return recovery.containers(situation, address)

    def recovering(self, recovery: Recovery) -> Plane:
        """Return the plane in which one member becomes the whole store."""
        from provision.planes.etcd.recovering import RecoveringPlane

        return RecoveringPlane(recovery)

    def open(self, remotes: Remotes, situation: Situation) -> EtcdCoordinator:
        """Return the door to the store and to each Docker API."""
        return EtcdCoordinator(situation.cluster, remotes, local(situation).identity)


def _stage(target: pki.RotationTarget) -> Stage:
    def enter(situation: Situation) -> Situation:
        if target == local(situation).identity.target:
            return situation
        return with_identity(situation, pki.Identity.read(situation.cluster, target=target))

    def foresee(situation: Situation) -> Situation:
        step = target.step
        return with_identity(situation, pki.foreseen(situation.cluster, step)) if step else enter(situation)

    return Stage(enter, target.step.told if target.step else "", foresee)


PLANE = EtcdPlane()
