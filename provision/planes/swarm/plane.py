"""Swarm mode as a control plane: what the verbs and the engine know of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from provision import layout
from provision.core.check import Check, collect
from provision.core.phase import Phase
from provision.core.plane import Coordinator, Goal, Plane, Stage
from provision.core.recovery import ADVICE, Recovery, Standing
from provision.core.saved import Saved
from provision.core.situation import Situation
from provision.core.validity import Certificate
from provision.errors import PreflightRefused, Problem
from provision.facts import Facts, Question, join
from provision.inventory.model import Cluster, Node
from provision.phases import upgrade
from provision.phases.departure import PutBack, Withdrawal, settled
from provision.phases.firewall import Firewall
from provision.phases.images import Images
from provision.phases.installation import Installation, docker_version
from provision.phases.keepers import Keepers
from provision.phases.networks import Networks
from provision.planes.swarm import leaving, managers, paths, recovery, validity, view
from provision.planes.swarm.coordinator import SwarmCoordinator
from provision.planes.swarm.local import Local
from provision.planes.swarm.node import functions
from provision.planes.swarm.phases import recover
from provision.planes.swarm.phases.authority import Authority
from provision.planes.swarm.phases.docker import Docker
from provision.planes.swarm.phases.host import Host
from provision.planes.swarm.phases.leave import Leave, Lost
from provision.planes.swarm.phases.mend import Mend
from provision.planes.swarm.phases.recover import Containers, FormerSwarm
from provision.planes.swarm.phases.swarm import Swarm
from provision.planes.swarm.ports import PORTS, encrypted, of_cluster
from provision.ports import Port
from provision.recovery import generations
from provision.recovery.generations import Generations
from provision.remote import Remotes
from provision.versions import Window


def is_lost(situation: Situation) -> bool:
    """Say whether nodes are in a swarm and no manager knows a leader: nobody knows which networks there are."""
    return any(view.active(situation)) and not view.is_running(situation)


def _another_port(situation: Situation) -> tuple[Problem, ...]:
    """Say that the swarm was made with another port for VXLAN, which cannot be changed."""
    there, wanted = view.data_path_port(situation), situation.cluster.vxlan_port
    if there in (None, wanted):
        return ()
    what = f"overlay.vxlan_port is {wanted}, but the swarm was made with {there}, and Docker cannot change it"
    advice = f"write `vxlan_port: {there}`; or, to begin anew, fab reset and then fab provision"
    return (Problem(what, "cluster", advice),)


def _several_dockers(situation: Situation) -> tuple[Problem, ...]:
    """Say which versions of Docker there are, if the nodes have several."""
    found: dict[str, list[str]] = {}
    for node in situation.cluster.nodes:
        if version := docker_version(situation, node):
            found.setdefault(version, []).append(node.name)
    if len(found) < 2:
        return ()
    what = "; ".join(f"Docker {version} on {', '.join(names)}" for version, names in sorted(found.items()))
    return (
        Problem(what, "cluster", "they work together; docker.version in the inventory upgrades one node after another"),
    )


def _is_in(situation: Situation, node: Node) -> bool:
    """Say whether a node is in the running swarm."""
    return node in view.active(situation)


class SwarmPlane(Plane):
    """Every node's dockerd in one swarm; the members manage it."""

    name = "swarm"
    docker_versions = Window(((20, 10),), (30,))
    docker_reason = "this version of overlay-provision does not know it"
    docker_advice = "install Docker 20.10 to 29, for example Debian 13's docker.io"
    swarm_mode = True
    uses_socket = True
    ports = PORTS
    traces = (paths.PEERS,)
    # What swarmkit takes: letters and digits, and between them hyphens and underscores.
    network_names = re.compile(r"[a-zA-Z0-9](?:[-_a-zA-Z0-9]*[a-zA-Z0-9])?")
    network_name_length = 63
    phases: tuple[Phase, ...] = (
        Installation(),
        Host(),
        Firewall(of_cluster, (layout.DOCKER_UNIT,), guests=leaving.let_in, removed=generations.given_up),
        Lost(),
        upgrade.Upgrade(_is_in, managers.rank, managers.cost_of_one),
        FormerSwarm(),
        Docker(),
        Generations(),  # before a node joins: else a run that is killed would leave one that seems to have been away
        Swarm(),
        Authority(),
        Networks(is_lost),
        Containers(),
        Images(),
        Mend(),
        Keepers(is_lost),
        Withdrawal(partial(functions, "reset"), leaving.is_in),
        Leave(),
        PutBack(partial(functions, "reset")),
    )
    renewal = "Docker renews it while it reaches a manager: docker info there; fab certs --rotate makes new ones"
    kept_data = paths.FORMER
    node_columns = ("containers started",)
    # Neither works in swarm mode.
    daemon_keys = frozenset({"cluster-store", "cluster-advertise", "cluster-store-opts"})
    modules = ("docker.types",)

    def ports_of(self, cluster: Cluster) -> tuple[Port, ...]:
        """Return the ports, and IPsec's protocol if a network of the cluster is encrypted."""
        return of_cluster(cluster)

    def is_on(self, facts: Facts) -> bool:
        """Say whether the node has our list of the swarm's nodes."""
        return paths.PEERS in facts.paths

    def holds_data(self, facts: Facts) -> bool:
        """Say whether the node is in a swarm that we set up, by its disk, or its containers wait for one."""
        return self.is_on(facts) and (facts.values.get("swarm") == "yes" or layout.HELD in facts.paths)

    def disowned(self, facts: Facts) -> Facts:
        """Leave out what its daemon says of its swarm, and networks that hosts share."""
        return recovery.disowned(facts)

    def local(self, cluster: Cluster) -> tuple[object, tuple[Problem, ...]]:
        """Return nothing: the controller keeps nothing for this plane."""
        return Local(), ()

    def describe_local(self, situation: Situation) -> str:
        """Say that the controller needs nothing."""
        return "Docker's own swarm mode: nothing is sent but the probe's image"

    def question(self, situation: Situation, node: Node) -> Question:
        """Ask for the daemon's words about its swarm, for the managers' list, and for its certificates."""
        encryption = ("fact_encryption",) if encrypted(situation.cluster) else ()
        own = Question(
            paths=(paths.PEERS, layout.HELD, paths.NETWORKS, paths.OTHERS),
            shown=(paths.STARTED, layout.HELD, paths.NETWORKS, paths.OTHERS),
            docker=(view.INFO, view.NODES),
            units=(layout.DOCKER_UNIT,),
            functions=(functions("facts"),),
            calls=("fact_swarm_certificates", "fact_swarm_address", *encryption),
        )
        return join([own, upgrade.question(situation.cluster)])

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say which nodes cannot leave or stay as they are, another VXLAN port, and where a majority would be lost."""
        return (*leaving.blockers(situation), *_another_port(situation)) or managers.blockers(situation)

    def outage(self, situation: Situation) -> tuple[Problem, ...]:
        """Say that the swarm has no quorum."""
        if not is_lost(situation):
            return ()
        told = {view.daemon(situation.of(node)).error for node in situation.cluster.members} - {""}
        what = "the swarm has no quorum: no container can join a network, and networks cannot be seen"
        advice = f"bring back its managers: a majority of those that were there has to answer; {ADVICE}"
        return (Problem(f"{what} ({'; '.join(sorted(told))})" if told else what, "cluster", advice),)

    def warnings(self, situation: Situation) -> tuple[Problem, ...]:
        """Say which hosts were given up or leave, which certificates have ended, and several versions of Docker."""
        return (
            *recovery.returned(situation, generations.returned(self, situation)),
            *leaving.warnings(situation),
            *validity.warnings(situation),
            *_several_dockers(situation),
        )

    def whole(self, situation: Situation) -> Situation:
        """Return the situation in which nobody is leaving."""
        return settled(situation)

    def stages(self, situation: Situation, goal: Goal) -> tuple[Stage, ...]:
        """Return those in which nodes leave. Whatever is to be renewed, Docker replaces the authority and all else."""
        if goal is Goal.CONVERGE:
            return leaving.stages(situation)
        aim = Local(replaced=validity.authority(situation))
        if not aim.replaced:
            raise PreflightRefused(Problem("no manager shows its certificate", "cluster", "fab status; fab provision"))
        return (Stage(lambda now: replace(now, local=aim)),)

    def adoption(self, situation: Situation, remotes: Remotes) -> tuple[Stage, ...]:
        """Refuse: there is nothing that a controller could lose."""
        raise PreflightRefused(Problem("the controller of a swarm keeps no certificates", "cluster", "fab provision"))

    def certificates(self, situation: Situation) -> Iterator[Certificate]:
        """Walk those that lie on the nodes."""
        return validity.found(situation)

    def checks(self) -> tuple[Check, ...]:
        """Return the checks of swarm mode."""
        from provision.planes.swarm import preflight
        from provision.planes.swarm.suites import key_permissions, nodes, security

        return collect(preflight, nodes, security, key_permissions)

    def on_the_network(self, situation: Situation, node: Node) -> bool:
        """Say whether the node's daemon manages the swarm, so that it can remove networks."""
        return view.daemon(situation.of(node)).manager and view.is_running(situation)

    def counts_on(self, situation: Situation, node: Node) -> bool:
        """Say whether the managers list the node as one of them."""
        there = view.found(situation, node)
        return there is not None and there.manager

    def node_functions(self, purpose: str) -> str:
        """Return this plane's shell functions for a bundle or a reset."""
        return functions(purpose)

    def restoring(self, saved: Saved) -> Plane:
        """Return swarm mode with the phases that set the saved swarm up on the first manager."""
        from provision.planes.swarm.restoring import Restoring

        return Restoring(saved)

    def follow_up(self, situation: Situation) -> Mapping[str, str]:
        """Ask the daemons, where no manager knows a leader, which containers they know: those of lost hosts too."""
        return recovery.follow_up(situation)

    def standings(self, situation: Situation) -> tuple[Standing, ...]:
        """Return what each node that answers is to the swarm."""
        return recovery.standings(situation, generations.returned(self, situation))

    def lost_containers(self, situation: Situation, address: str) -> tuple[str, ...]:
        """Return the names of a lost host's containers, as the other daemons know them."""
        return recovery.lost_containers(situation, address)

    def recovering(self, recovery: Recovery) -> Plane:
        """Return this plane with the phases in which one node goes on alone."""
        return RecoveringSwarm(recovery)

    def open(self, remotes: Remotes, situation: Situation) -> Coordinator:
        """Return the door to the swarm."""
        return SwarmCoordinator(situation.cluster, remotes)


class RecoveringSwarm(SwarmPlane):
    """Swarm mode while one node goes on without a majority. The other nodes' part of the inventory has to wait."""

    def __init__(self, decided: Recovery) -> None:
        """Take what was decided."""
        self._decided = decided
        self.phases = recover.phases(decided)

    def blockers(self, situation: Situation) -> tuple[Problem, ...]:
        """Say whose networks would be lost. Nothing else that hinders the inventory hinders a recovery."""
        return recovery.unanswered(situation, self._decided)

    def warnings(self, situation: Situation) -> tuple[Problem, ...]:
        """Return nothing: lost hosts are shut out."""
        return ()

    def open(self, remotes: Remotes, situation: Situation) -> Coordinator:
        """Return the door to the swarm of the node that is kept."""
        return super().open(remotes, recover.managed_by(situation, self._decided.keep))


PLANE = SwarmPlane()
