"""What is found before a migration, and in the midst of it: the nodes, the obstacles, and what is to come along."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from provision import engine, facts, gathering, inventory
from provision.checks import catalogue, node_view
from provision.core.check import named
from provision.core.outcome import failures
from provision.core.plan import Plan
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.docker.containers import SCRIPT, Container, temporary
from provision.docker.containers import read as read_containers
from provision.errors import PreflightRefused, Problem, StepFailed
from provision.inventory.model import Node
from provision.migration import networks, nodes, phases, record
from provision.migration.nodes import Stage
from provision.migration.record import Migration
from provision.network import tunnels
from provision.phases.network_users import is_a_users
from provision.remote import Remote, Remotes
from provision.verbs import steps
from provision.verbs.session import Session

#: Addresses that may be given out until all containers are back, for each node and container.
MORE = 2


@dataclass(frozen=True)
class Way:
    """The control planes before and after, what was found on the nodes, and the record of the migration."""

    before: Plane
    after: Plane
    situation: Situation
    migration: Migration
    warnings: tuple[Problem, ...] = ()

    @property
    def leaving(self) -> Plane:
        """The former control plane, with the phases in which nodes leave it."""
        return phases.leaving(self.before)

    @property
    def entering(self) -> Plane:
        """The next control plane, with the phases in which containers come back."""
        return phases.entering(self.after, self.migration)

    @property
    def foreseen(self) -> Situation:
        """The situation as it will be found when every node has left the former control plane."""
        there = nodes.left(self.before, self.situation)
        return nodes.with_recorded(there, self.migration.networks)

    @property
    def plans(self) -> tuple[Plan, Plan]:
        """What leads out of the former control plane, and what will lead into the next. PreflightRefused."""
        return engine.make_plan(self.leaving, self.situation), engine.make_plan(self.entering, self.foreseen)


def surveyed(session: Session, before: Plane, after: Plane, remotes: Remotes, ignore: Sequence[str]) -> Way:
    """Ask every node everything, and look for obstacles to the next control plane. PreflightRefused."""
    try:
        return _surveyed(session, before, after, remotes, ignore)
    except StepFailed as error:  # nothing was changed before
        raise PreflightRefused(*error.problems) from error


def _surveyed(session: Session, before: Plane, after: Plane, remotes: Remotes, ignore: Sequence[str]) -> Way:
    ignored = named(catalogue.of_preflight(after), ignore, "--ignore")
    session.aim_at(after)
    situation = asked(session, before, after, remotes)
    # A node that has stopped goes on, whatever stands in the way.
    stopped = {name for name, there in situation.facts.items() if nodes.is_stopped(there)}
    _refuse_others(session, before, situation, stopped)
    migration = _migration(session, before, after, situation, remotes)
    situation = steps.with_flows(session, tunnels.tried(after, situation, remotes), remotes)
    way = Way(before, after, situation, migration)
    outcomes = tuple(
        outcome
        for outcome in node_view.run(after, way.foreseen, catalogue.of_preflight(after), ignored)
        if outcome.where not in stopped
    )
    if obstacles := [outcome.problem for outcome in failures(outcomes)]:
        raise PreflightRefused(*obstacles)
    warned = (outcome.problem for outcome in outcomes if outcome.status == "warning")
    return replace(way, warnings=(*inventory.warnings(session.cluster), *warned))


def _refuse_others(session: Session, before: Plane, situation: Situation, stopped: Collection[str]) -> None:
    """Raise PreflightRefused if a node that has not stopped is another cluster's, or another controller's."""
    found = {name: there for name, there in situation.facts.items() if name not in stopped}
    session.refuse_another_cluster(found)
    if not any(map(before.is_on, found.values())):
        return  # what the controller kept for it may be put aside
    theirs = replace(situation, local=before.local(session.cluster)[0], facts=found)
    checks = [one for one in before.checks() if one.name == steps.FOREIGN]
    if obstacles := [outcome.problem for outcome in failures(node_view.run(before, theirs, checks))]:
        raise PreflightRefused(*obstacles)


def asked(session: Session, before: Plane, after: Plane, remotes: Remotes) -> Situation:
    """Ask every node for what both control planes put there. StepFailed."""
    start = Situation(session.cluster, after.local(session.cluster)[0], recorded=True)
    of_before = facts.Question(
        paths=(*before.traces, *before.authorities), shown=before.authorities, units=before.services
    )
    also = facts.join([nodes.QUESTION, of_before])
    own = {node.name: gathering.question(after, start, node) for node in session.cluster.nodes}
    for remote in remotes:
        session.progress.say(remote.node.name, "asking for facts")
    with session.progress.stage("facts"):
        found = gathering.answers(
            {name: facts.script(facts.join([asked, also])) for name, asked in own.items()}, remotes
        )
    return gathering.completed(after, replace(start, facts=found), remotes)


def _migration(session: Session, before: Plane, after: Plane, situation: Situation, remotes: Remotes) -> Migration:
    """Return the record: of nodes that have not stopped as they are now, of others as it was written before."""
    there = record.under_way(session.cluster) or _recorded_on(situation)
    back = {one.node for one in (there.containers if there else ())}  # perhaps: of those that are out
    running = [
        node
        for node in session.cluster.nodes
        if not nodes.is_stopped(situation.of(node))
        and (nodes.stage(before, situation.of(node)) < Stage.OUT or node.name not in back)
    ]
    seen = _containers(situation, remotes, running)
    known = [one for one in (there.containers if there else ()) if one.node not in seen]
    containers = (*known, *(one for some in seen.values() for one in some))
    kept = () if there or situation.networks else before.kept_networks(remotes, session.cluster)
    found = networks.known(situation, containers, there.networks if there else (), map(networks.of_docker, kept))
    names = {network.name for network in found}
    if not any(map(nodes.is_stopped, situation.facts.values())):
        read = [one for some in seen.values() for one in some]
        if problems := [*networks.obstacles(after, found), *networks.forgotten(situation, read, names)]:
            raise PreflightRefused(*problems)
    many = MORE * (len(session.cluster.nodes) + len(containers))
    free = tuple(networks.kept_free(network, containers, many) for network in found)
    return Migration(before.name, after.name, free, tuple(_on(one, names) for one in containers))


def _recorded_on(situation: Situation) -> Migration | None:
    """Return the record that a node holds, if one does: of a migration that another controller has begun."""
    there = ((name, facts.paths.get(nodes.RECORD)) for name, facts in situation.facts.items())
    return record.first((f"{name}: {nodes.RECORD}", path.text or "") for name, path in there if path)


def _on(container: Container, names: Collection[str]) -> Container:
    """Return the container with its places on networks that hosts share: the others, its host still has."""
    return replace(container, attachments=tuple(one for one in container.attachments if one.network in names))


def _containers(situation: Situation, remotes: Remotes, wanted: Sequence[Node]) -> Mapping[str, tuple[Container, ...]]:
    """Return the containers of nodes: those on networks of their users, and all others that run. They stop, too."""

    def read(remote: Remote) -> tuple[Container, ...]:
        result = remote.run(SCRIPT, what="reading the containers")
        if result.code:
            what = f"cannot read the containers: {result.stderr.strip()[-400:]}"
            raise StepFailed(Problem(what, remote.node.name, "nothing was changed"))
        attached = read_containers(remote.node.name, result.stdout)
        known, ends = {one.identity for one in attached}, temporary(result.stdout)
        plain = (one for one in situation.of(remote.node).containers if one.identity not in known and is_a_users(one))
        others = (
            Container(remote.node.name, one.identity, one.name, "", True, "", (), one.identity in ends) for one in plain
        )
        return (*attached, *others)

    return remotes.each(read, tuple(wanted))
