"""reset: restore every node as it was before us, from the record that provision has kept on the node."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from provision import layout
from provision.core.plan import Change
from provision.core.plane import Coordinator
from provision.core.situation import Situation
from provision.docker.client import retry
from provision.errors import ConsentMissing, PreflightRefused, Problem, StepFailed, UsageError
from provision.facts import RUN_LABEL
from provision.inventory.model import Node
from provision.phases import networks
from provision.phases.departure import done, undo
from provision.remote import Remote, Remotes
from provision.report import Report
from provision.resources import KEEPER
from provision.verbs.session import Session

_CONTAINERS = (
    'timeout 60 docker ps -a --no-trunc --format \'{{.Names}}\t{{.Label "%s"}}{{.Label "%s"}}\' --filter network=%s'
)


class Foreign(NamedTuple):
    """A user's container on one of our networks."""

    container: str
    network: str


def run_reset(session: Session, *, only: Sequence[str], yes: bool, delete_user_data: bool) -> Report:
    """Undo provision on all nodes, or on those in `only`. ConsentMissing if users' data would be deleted."""
    chosen = _chosen(session, only)
    with session.survey("reset", absent=True, supplies=False) as (remotes, situation):
        changed = [node for node in chosen if situation.of(node).values.get("record") == "yes"]
        if not changed:
            return Report("reset", "nothing to reset: no node has a record of ours")
        if only:
            _refuse_members(session, situation, changed)
        for warning in session.plane.outage(situation):
            session.progress.say(warning.where, warning.what)
        with session.coordinator(remotes, situation) as coordinator:
            found = remotes.each(partial(_users_containers, situation), tuple(changed))
            if not delete_user_data:
                _respect_users(found, () if only else _users_data(session, situation, coordinator))
            names = ", ".join(node.name for node in changed)
            if not yes and not session.agreed(f"Put {names} back to the state before overlay-provision?"):
                raise ConsentMissing(Problem(f"reset changes {names}", advice="add --yes to agree in advance"))
            remotes.each(lambda remote: _remove_containers(remote, found[remote.node.name]), tuple(changed))
            _run(session, remotes, changed, "drop_keepers", "removing keepers")
            if not only:
                _remove_networks(session, situation, coordinator, changed)
        _run(session, remotes, changed, "put_back_docker", "restoring Docker")
        _run(session, remotes, changed, "put_back_rest", "restoring everything else")
    changes = tuple(Change(node.name, "reset", "everything of ours", "remove") for node in changed)
    return Report(
        "reset",
        f"{names}: restored. The cluster's authorities stay in {session.cluster.folder}",
        changes=changes,
        times=tuple(session.progress.times.items()),
    )


def _users_data(session: Session, situation: Situation, coordinator: Coordinator) -> Sequence[Problem]:
    return coordinator.users_data(situation, lambda what: session.progress.say("cluster", what))


def _chosen(session: Session, only: Sequence[str]) -> tuple[Node, ...]:
    """Return the nodes with these names, or all if there are none. UsageError if a name is unknown."""
    names = [host.name for host in session.cluster.hosts]
    if unknown := [name for name in only if name not in names]:
        what = f"--only {unknown[0]}: there is no such node in the inventory"
        raise UsageError(Problem(what, "reset", f"there are: {', '.join(names)}"))
    return tuple(host for host in session.cluster.hosts if not only or host.name in only)


def _refuse_members(session: Session, situation: Situation, chosen: Sequence[Node]) -> None:
    """Refuse to reset single nodes that are still members of the cluster."""
    counted = [node.name for node in chosen if session.plane.counts_on(situation, node)]
    if counted:
        what = f"the cluster still counts on {', '.join(counted)}"
        advice = "write `state: absent` at the node in the inventory, and run fab provision, which restores its host"
        raise PreflightRefused(*(Problem(what, name, advice) for name in counted))


def _respect_users(found: Mapping[str, Sequence[Foreign]], keys: Sequence[Problem]) -> None:
    on_networks = [
        Problem(f"container {foreign.container} is on network {foreign.network}", node)
        for node, containers in found.items()
        for foreign in containers
    ]
    if problems := [*on_networks, *keys]:
        advice = "move them away, or let reset delete them: --delete-user-data"
        raise ConsentMissing(*(replace(problem, advice=advice) for problem in problems))


def _users_containers(situation: Situation, remote: Remote) -> list[Foreign]:
    if not situation.of(remote.node).unit(layout.DOCKER_UNIT).running:
        return []
    return [
        Foreign(name, network.name)
        for network in situation.cluster.networks
        for line in done(remote, _CONTAINERS % (RUN_LABEL, KEEPER, network.name), "looking at containers").splitlines()
        for name, _, ours in [line.partition("\t")]
        if name and not ours
    ]


def _remove_containers(remote: Remote, found: Sequence[Foreign]) -> None:
    if found:
        names = dict.fromkeys(foreign.container for foreign in found)  # a container may be on several networks
        done(remote, f"docker rm -f {shlex.join(names)}", "removing containers")


def _remove_networks(session: Session, situation: Situation, coordinator: Coordinator, changed: list[Node]) -> None:
    """Remove our networks while a quorum answers. Without one, they disappear when dockerd leaves the cluster."""
    answering = [node for node in changed if session.plane.on_the_network(situation, node)]
    if not answering:
        return
    docker = coordinator.docker(answering[0])

    def remove() -> None:
        for network in docker.networks.list(filters={"label": f"{networks.LABEL}={session.cluster.name}"}):
            session.progress.say("cluster", f"remove network {network.name}")
            network.remove()

    try:
        retry(remove, "Docker removes the networks", answering[0].name)
    except StepFailed as error:
        session.progress.say("cluster", f"the networks disappear when Docker leaves the cluster: {error}")


def _run(session: Session, remotes: Remotes, nodes: list[Node], function: str, what: str) -> None:
    def step(remote: Remote) -> None:
        session.progress.say(remote.node.name, what)
        undo(remote, session.plane.node_functions("reset"), function, what=what)

    with session.progress.stage("reset"):
        remotes.each(step, nodes)
