"""reset: restore every node as it was before us, from the record that provision has kept on the node."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from provision import layout
from provision.backup import record as restore
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator
from provision.core.situation import LABEL, Situation
from provision.docker.archive import normal
from provision.docker.client import retry
from provision.errors import ConsentMissing, PreflightRefused, Problem, StepFailed, Unanswered, UsageError
from provision.facts.run_labels import RUN_IMAGE, RUN_VOLUME
from provision.inventory.model import Node
from provision.migration import record as migration
from provision.migration.record import Migration
from provision.node import library
from provision.phases import network_users
from provision.phases.departure import done, undo
from provision.phases.network_users import NetworkUser
from provision.recovery import record as recovery
from provision.remote import Remote, Remotes
from provision.report import Report
from provision.verbs.session import Session

#: What to do about data that cannot be looked at.
UNSEEN = "let it answer, and run this again; or let reset delete users' data without looking: --delete-user-data"
#: What to do about a Docker that does not answer at the end.
LEFT = (
    "once it answers, remove what may be left of ours: docker rm -f $(docker ps -aq -f label=overlay-keeper); "
    "docker network rm docker_gwbridge"
)
#: What to do about a package that another one needs by now.
STAYS = "provision has installed it; remove it when it is not needed any more: apt-get purge"


def run_reset(session: Session, *, only: Sequence[str], yes: bool, delete_user_data: bool) -> Report:
    """Undo provision on all nodes, or on those in `only`. ConsentMissing if users' data would be deleted."""
    chosen = _chosen(session, only)
    # What the controller lacks to set up nodes, such as a release, is not needed to put them back.
    with session.survey("reset", absent=True, supplies=False) as (remotes, situation):
        changed = [node for node in chosen if situation.of(node).values.get("record") == "yes"]
        under_way = migration.under_way(session.cluster)
        if not changed:
            if not only:  # a reset that was killed
                _end(session, under_way)
            return Report("reset", "nothing to reset: no node has a record of ours")
        if only:
            _refuse_members(session, situation, changed)
        for warning in session.plane.outage(situation):
            session.progress.say(warning.where, warning.what)
        networks = network_users.shared(situation)
        found = {node.name: _users(situation, node, networks, under_way) for node in changed}
        with session.coordinator(remotes, situation) as coordinator:
            if not delete_user_data:
                data = [
                    *(() if only else _users_data(situation, coordinator)),
                    *_docker_data(situation, remotes, changed),
                ]
                away = {node.name: _stopped(situation, node, under_way) for node in changed}
                _respect_users({name: (*found[name], *away[name]) for name in found}, data, _hidden(situation, changed))
            names = ", ".join(node.name for node in changed)
            if not yes and not session.agreed(f"Put {names} back to the state before overlay-provision?"):
                raise ConsentMissing(Problem(f"reset changes {names}", advice="add --yes to agree in advance"))
            _run(session, remotes, changed, ("drop_keepers",), "removing keepers")
            remotes.each(lambda remote: _remove_containers(remote, found[remote.node.name]), tuple(changed))
            if not only:
                _remove_networks(session, situation, coordinator, changed)
        left = _run(session, remotes, changed, ("put_back_docker",), "restoring Docker")
        stays = _run(session, remotes, changed, ("put_back_rest",), "restoring everything else", STAYS)
        if not only:
            _end(session, under_way)
    _refuse_a_new_failure(situation, left)
    return Report(
        "reset",
        f"{names}: restored. The cluster's authorities stay in {session.cluster.folder}",
        changes=tuple(Change(node.name, "reset", "everything of ours", "remove") for node in changed),
        warnings=(*left, *stays),
        times=tuple(session.progress.times.items()),
    )


def _end(session: Session, under_way: Migration | None) -> None:
    """End the migration, recovery or restore that was under way; what the controller keeps stays."""
    recovery.forget(session.cluster)
    restore.end(session.cluster)
    if under_way:
        migration.end(session.cluster, *(path.name for path in session.cluster.folder.iterdir()))


def _recorded(node: Node, under_way: Migration | None) -> Iterator[tuple[str, NetworkUser]]:
    """Yield each container of a node that a migration would bring back to a network, after its ID."""
    for one in under_way.of(node.name) if under_way else ():
        for place in one.attachments:
            yield one.identity, NetworkUser(one.name, place.network, one.runs)


def _users(
    situation: Situation, node: Node, networks: Collection[str], under_way: Migration | None
) -> tuple[NetworkUser, ...]:
    """Return the containers of users on the networks, and those that a migration would bring back to them."""
    there = {one.identity for one in situation.of(node).every_container}
    waiting = (user for identity, user in _recorded(node, under_way) if identity in there)
    users = (*waiting, *network_users.users(situation, node, networks))
    return tuple({(user.container, user.network): user for user in users}.values())


def _stopped(situation: Situation, node: Node, under_way: Migration | None) -> tuple[NetworkUser, ...]:
    """Return those that are on the disk of a Docker that does not answer."""
    return () if situation.of(node).docker_answers else tuple(user for _, user in _recorded(node, under_way))


def _users_data(situation: Situation, coordinator: Coordinator) -> Sequence[Problem]:
    """Return what goes with the cluster, beside containers: a user's networks and data. Or that it cannot be seen."""
    what = "network {} is not ours, and goes with the cluster"
    networks = [Problem(what.format(name), CLUSTER) for name in network_users.of_users(situation)]
    try:
        return [*networks, *coordinator.users_data(situation)]
    except Unanswered as error:
        # What never worked holds nothing, such as a store whose first members have not found each other.
        worked = network_users.has_worked(situation)
        return [*networks, Problem(str(error), CLUSTER, UNSEEN)] if worked else networks


def _docker_data(situation: Situation, remotes: Remotes, changed: Sequence[Node]) -> Sequence[Problem]:
    """Return what users have in a Docker that goes because we have installed it."""
    ours = tuple(node for node in changed if situation.of(node).values.get("docker-ours"))
    script = f"{library('record', 'packages', 'reset')}\nlist_things\n"
    listed = remotes.each(lambda remote: done(remote, script, "looking into Docker"), ours) if ours else {}
    return [problem for node, text in listed.items() for problem in _in_docker(situation, node, text)]


def _in_docker(situation: Situation, node: str, text: str) -> Iterator[Problem]:
    cluster = situation.cluster
    images = [cluster.probe.image, *((cluster.app.redis.image, cluster.app.web.image) if cluster.app else ())]
    for kind, name, label in (f"{line}\t\t".split("\t")[:3] for line in text.splitlines()):
        if kind == "unseen":
            yield Problem("Docker goes, for provision has installed it; it does not answer what is in it", node, UNSEEN)
        elif not label and not name.startswith((RUN_IMAGE, RUN_VOLUME)) and name not in map(normal, images):
            yield Problem(f"{kind} {name} is in Docker, which goes, for provision has installed it", node)


def _hidden(situation: Situation, changed: Sequence[Node]) -> Sequence[Problem]:
    """Return the nodes whose containers cannot be looked at."""
    return [
        Problem(
            "containers on the networks cannot be looked at: Docker does not answer "
            f"({layout.DOCKER_UNIT} is {situation.of(node).unit(layout.DOCKER_UNIT).state})",
            node.name,
            UNSEEN,
        )
        for node in changed
        if network_users.are_hidden(situation, node)
    ]


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


def _respect_users(
    found: Mapping[str, Sequence[NetworkUser]], data: Sequence[Problem], hidden: Sequence[Problem]
) -> None:
    on_networks = [
        Problem(f"container {user} is on network {user.network}", node)
        for node, users in found.items()
        for user in users
    ]
    if problems := [*on_networks, *data, *hidden]:
        advice = "move them away, or let reset delete them: --delete-user-data"
        raise ConsentMissing(*(replace(problem, advice=problem.advice or advice) for problem in problems))


def _remove_containers(remote: Remote, found: Sequence[NetworkUser]) -> None:
    if found:
        names = dict.fromkeys(user.container for user in found)  # a container may be on several networks
        done(remote, f"timeout 120 docker rm -f {shlex.join(names)}", "removing containers")


def _remove_networks(session: Session, situation: Situation, coordinator: Coordinator, changed: Sequence[Node]) -> None:
    """Remove our networks if a quorum answers and no keeper is left. Else they go as dockerd leaves the cluster."""
    answering = [node for node in changed if session.plane.on_the_network(situation, node)]
    if not answering or not all(situation.of(node).docker_answers for node in changed):
        return
    docker = coordinator.docker(answering[0])

    def remove() -> None:
        for network in docker.networks.list(filters={"label": LABEL}):
            session.progress.say("cluster", f"remove network {network.name}")
            network.remove()

    try:
        retry(remove, "Docker removes the networks", answering[0].name)
    except StepFailed as error:
        session.progress.say("cluster", f"the networks disappear when Docker leaves the cluster: {error}")


def _run(
    session: Session, remotes: Remotes, nodes: Sequence[Node], functions: Sequence[str], what: str, advice: str = LEFT
) -> tuple[Problem, ...]:
    """Run these functions of reset.sh on the nodes. Return what they could not do, and said."""

    def step(remote: Remote) -> str:
        session.progress.say(remote.node.name, what)
        return undo(remote, session.plane.node_functions("reset"), *functions, what=what)

    with session.progress.stage("reset"):
        told = remotes.each(step, nodes)
    return tuple(Problem(line, node, advice) for node, lines in told.items() for line in lines.splitlines())


def _refuse_a_new_failure(situation: Situation, left: Sequence[Problem]) -> None:
    """Raise StepFailed if a Docker that ran before does not run any more. All else is undone by then."""
    ran = {name for name, facts in situation.facts.items() if facts.unit(layout.DOCKER_UNIT).running}
    if any(problem.where in ran for problem in left):
        raise StepFailed(*left)
