"""The phases of a recovery: lost hosts are shut out, one member is the whole store, and what they held is free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from provision import waiting
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, CONTROLLER, Change
from provision.core.recovery import Recovery
from provision.core.resource import Difference, Resource, call
from provision.core.situation import Situation
from provision.docker.client import retry
from provision.errors import Problem, StepFailed
from provision.facts import RUN_LABEL, Facts
from provision.inventory.model import Cluster, Node
from provision.planes.etcd import paths, pki, ports, recovery, strangers
from provision.planes.etcd.coordinator import OF_NETWORKS, opened
from provision.planes.etcd.joining import joined
from provision.planes.etcd.local import with_identity
from provision.planes.etcd.membership import peer_url
from provision.planes.etcd.node import functions
from provision.planes.etcd.phases.pki import trusted_files
from provision.planes.etcd.phases.strangers import free, order
from provision.planes.etcd.resources import restart_docker
from provision.resources import File
from provision.templates import render

if TYPE_CHECKING:
    from docker import DockerClient

    from provision.core.plane import Coordinator


class OfRecovery(Phase):
    """A phase of one recovery."""

    def __init__(self, decided: Recovery) -> None:
        """Take what was decided."""
        self.decided = decided

    def staying(self, cluster: Cluster) -> Cluster:
        """Return the cluster without the hosts that are lost."""
        return replace(cluster, nodes=tuple(one for one in cluster.nodes if one.address not in self.decided.addresses))


class ShutOut(OfRecovery):
    """The store accepts no certificate of a lost host any more. Members are still trusted by their old authority:

    a member that returns has to reach the one that is kept, which tells it that it was removed for good. Two that could
    not reach it would have a majority of their own.
    """

    name = "shut-out"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return the authority that is replaced, unless that was done."""
        if pki.has_shut_out(situation.cluster, self.decided.identity) or not pki.can_shut_out(situation.cluster):
            return ()
        note = "the store accepts clients with leaves of the new one, and those of the hosts that are left"
        return (Change(CONTROLLER, self.name, f"authority {pki.Authority.CLIENT}", "replace", note=note),)

    def change_controller(self, situation: Situation) -> Situation:
        """Replace it."""
        return with_identity(situation, pki.shut_out(self.staying(situation.cluster), self.decided.identity))

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return what the member that is kept trusts when it starts."""
        if node != self.decided.keep:
            return ()
        files = trusted_files(situation, node)
        return tuple(replace(one, content=None) for one in files) if self.cluster_changes(situation) else files


@dataclass(frozen=True)
class MemberAside(Resource):
    """A member that has no majority, beside the one that is kept: it joins that one's store anew.

    `folder`: where its data go. `apart`: it has been a cluster of its own since an earlier recovery.
    """

    folder: str
    apart: bool

    @property
    def name(self) -> str:
        """`member of the store`."""
        return "member of the store"

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it has data, or would begin anew without the others."""
        if not facts.answers.get("store-data") and paths.ETCD_BOOTSTRAP not in facts.paths:
            return None
        return Difference(
            "remove", note=f"its data is moved aside, to {paths.DATA}/{self.folder}; provision lets it join"
        )

    def apply(self, difference: Difference) -> str:
        """Stop it, and move its data."""
        aside = call("put_member_aside", self.folder)
        return "\n".join((functions("changes"), functions("recover"), *restart_docker(self.apart), aside))


class Others(OfRecovery):
    """Other members that answer are stopped before one of them becomes the whole store."""

    name = "others"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return that they hold nothing."""
        aside = MemberAside(f"removed-{self.decided.identity}", node in self.decided.apart)
        return (aside,) if node in self.decided.others else ()


@dataclass(frozen=True)
class OnlyMember(Resource):
    """A member that is the whole store. `copy`: the folder of its data from before."""

    done: bool
    copy: str

    @property
    def name(self) -> str:
        """`only member of the store`."""
        return "only member of the store"

    def compare(self, facts: Facts) -> Difference | None:
        """Whether it is, and runs with what it is to trust."""
        if self.done:
            return None
        return Difference(
            "restart", note=f"etcd is away for three seconds; its data is copied to {paths.DATA}/{self.copy}"
        )

    def apply(self, difference: Difference) -> str:
        """Force it: see recover.sh."""
        needed = "\n".join(map(functions, ("facts", "changes", "recover")))
        return f"{needed}\n{call('force_member', self.copy)}"


def copy_of(decided: Recovery) -> str:
    """Return the name of the folder, beside the data of the member that is kept, in which a recovery copies these."""
    return f"before-recovery-{decided.identity}"


class Force(OfRecovery):
    """The member that is kept becomes the whole store, with what it has."""

    name = "force"
    waits_for = "the store's only member"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        """Return what it would begin anew with, and that it is alone."""
        if node != self.decided.keep:
            return ()
        # Nobody that knew the former store may take one that is made anew for it: other IDs, by another token.
        content = render(
            "etcd/bootstrap.env.j2",
            token=f"overlay-{self.decided.identity}",
            node=node,
            initial_cluster=f"{node.name}={peer_url(node)}",
            state="new",
            peer_port=ports.PEER_PORT,
        )
        inputs = situation.of(node).unit(paths.ETCD_UNIT).inputs
        current = all(inputs.get(file.path) in file.fit for file in trusted_files(situation, node))
        begun = pki.has_shut_out(situation.cluster, self.decided.identity) or not pki.can_shut_out(situation.cluster)
        done = begun and current and recovery.is_alone(situation, node)
        return (
            File(paths.ETCD_BOOTSTRAP, content, opaque=True, public=True),
            OnlyMember(done, copy_of(self.decided)),
        )

    def after(self, situation: Situation, coordinator: Coordinator, wave: Sequence[Node]) -> None:
        """The controller reaches it."""
        coordinator.await_quorum("after the recovery")


class FirstNetwork(OfRecovery):
    """A dockerd's first network after a member is lost fails, for a new network is asked for once, at one member.

    So one is made and removed through every dockerd until that works.
    """

    name = "first-network"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return a change for the whole cluster."""
        names = ", ".join(node.name for node in _on_the_store(situation))
        note = f"through Docker on {names}: the first one after a loss may fail"
        return (Change(CLUSTER, self.name, "network that is removed again", "create", note=note),) if names else ()

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> tuple[Problem, ...]:
        """Make and remove it, through one dockerd after another. Return which host cannot until it joins anew."""
        nodes = _on_the_store(situation)
        coordinator.remotes.each(joined, nodes)
        later: list[Problem] = []
        for node in nodes:
            try:
                _tried(coordinator, nodes, node)
            except StepFailed as error:
                if node not in self.decided.others:
                    raise
                # Its dockerd may know no other member than its own, which was stopped.
                later += [replace(one, advice="fab provision --yes lets the host join anew") for one in error.problems]
        return tuple(later)


def _tried(coordinator: Coordinator, nodes: tuple[Node, ...], node: Node) -> None:
    """Let one node's dockerd make and remove a network. StepFailed."""
    subnet = _spare(coordinator, nodes)
    name = f"probe-{coordinator.remotes.run}-{node.name}"
    attempt = partial(_made_and_removed, coordinator.docker(node), name, subnet, coordinator.remotes.run)
    with coordinator.cleaning_up_after(subnet):
        retry(attempt, "Docker makes a network", node.name)


def _on_the_store(situation: Situation) -> tuple[Node, ...]:
    """Return the nodes whose dockerd is on the store as soon as that has a quorum."""
    return tuple(node for node in strangers.asked(situation) if situation.of(node).containers_known)


def _spare(coordinator: Coordinator, nodes: tuple[Node, ...]) -> IPv4Network:
    """Return a subnet that no node uses. StepFailed if a Docker does not list its networks."""
    from provision.checks import temporary

    found: list[IPv4Network] = []
    retry(lambda: found.append(temporary.spare(coordinator, nodes)), "Docker lists its networks", CLUSTER)
    return found[-1]


def _made_and_removed(docker: DockerClient, name: str, subnet: IPv4Network, run: str) -> None:
    from docker.types import IPAMConfig, IPAMPool

    for left in docker.networks.list(names=[name]):
        left.remove()
    pools = IPAMConfig(pool_configs=[IPAMPool(str(subnet))])
    docker.networks.create(name, "overlay", check_duplicate=True, labels={RUN_LABEL: run}, ipam=pools).remove()


class Freed(OfRecovery):
    """The names, aliases and addresses of the lost hosts' containers are free."""

    name = "freed"

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        """Return a change for each lost host that holds something, or may."""
        return tuple(self._change(host, found) for host, found in self._held(situation).items())

    def _held(self, situation: Situation) -> Mapping[str, tuple[strangers.Endpoint, ...] | None]:
        """Return what lost hosts hold, by address; None where the member that is kept does not list it yet."""
        hosts, found = [one.address for one in self.decided.lost], recovery.endpoints(situation)
        if recovery.ENDPOINTS not in situation.of(self.decided.keep).answers:
            return dict.fromkeys(hosts)
        return {host: found[host] for host in hosts if host in found}

    def _change(self, host: str, found: tuple[strangers.Endpoint, ...] | None) -> Change:
        unlisted = "those that the store lists then"
        names = unlisted if found is None else ", ".join(sorted({one.name for one in found}))
        return Change(CLUSTER, self.name, f"endpoints of {host}", "free", note=names)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        """Free each endpoint through a dockerd. That of a container which has come back by now stays."""
        nodes, door = _on_the_store(situation), opened(coordinator)
        for host, found in self._held(situation).items():
            if self._change(host, found) != change:
                continue
            for endpoint in recovery.in_store(door.store().get(OF_NETWORKS), host) if found is None else found:
                attempt = partial(free, door, order(nodes, situation, endpoint), endpoint)
                what = f"Docker frees the endpoint of {endpoint.name}"
                waiting.until(attempt, what, CLUSTER, f"journalctl -u docker; then {paths.ADVICE}")


def phases(decided: Recovery) -> tuple[Phase, ...]:
    """Return the phases in their order."""
    return tuple(kind(decided) for kind in (ShutOut, Others, Force, FirstNetwork, Freed))
