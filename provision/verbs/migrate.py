"""migrate: from the cluster's control plane to the next one, with the same networks and the same containers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from provision import engine, facts, inventory, planes
from provision.checks import catalogue, node_view
from provision.core.check import named
from provision.core.outcome import failures
from provision.core.plan import Plan
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.docker.containers import SCRIPT, Container
from provision.docker.containers import read as read_containers
from provision.errors import ConsentMissing, Exit, PreflightRefused, Problem, StepFailed, Unanswered
from provision.inventory.model import Node
from provision.migration import networks, nodes, phases, proof, record, tables
from provision.migration.nodes import Stage
from provision.migration.record import Migration
from provision.phases.network_users import is_a_users
from provision.remote import Remote, Remotes
from provision.report import Report
from provision.verbs import steps
from provision.verbs.provision import proven_and_settled
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
        there = self.situation.facts.items()
        names = [name for name, facts in there if nodes.stage(self.before, facts) < Stage.DONE]
        return phases.entering(self.after, self.migration, names)

    @property
    def foreseen(self) -> Situation:
        """The situation as it will be found when every node has left the former control plane."""
        there = nodes.left(self.before, self.situation)
        return nodes.with_recorded(there, self.migration.networks)

    @property
    def plans(self) -> tuple[Plan, Plan]:
        """What leads out of the former control plane, and what will lead into the next. PreflightRefused."""
        return engine.make_plan(self.leaving, self.situation), engine.make_plan(self.entering, self.foreseen)


def run_migrate(session: Session, *, plan: bool, yes: bool, delete_user_data: bool, ignore: Sequence[str]) -> Report:
    """Record, stop, leave the one control plane and enter the next; bring the containers back, and prove them."""
    if plan:
        return what_is_left(session, "migrate", exit_code=False, ignore=ignore)
    there = _planes(session)
    if isinstance(there, Report):
        return there
    try:
        with session.connected("migrate") as remotes:
            way = _surveyed(session, *there, remotes, ignore)
            first, _ = way.plans
            if not delete_user_data:
                _respect_users(session, way, remotes)
            if not yes:
                _consent(session, way)
                way = _surveyed(session, *there, remotes, ignore)  # the answer may have taken a while
            _record(session, way, remotes)
            return _entered(session, _left(session, way, first, remotes), remotes)
    except StepFailed as error:
        raise StepFailed(*map(_to_go_on, error.problems)) from None


def what_is_left(session: Session, verb: str, *, exit_code: bool, ignore: Sequence[str]) -> Report:
    """Return what a migration would change, or what is left of one that is under way. Nothing is written on a node."""
    there = _planes(session)
    if isinstance(there, Report):
        return there
    with session.connected() as remotes:
        way = _surveyed(session, *there, remotes, ignore)
    changes = tuple(replace(change, diff="") for plan in way.plans for change in plan)
    return Report(
        verb,
        f"{len(changes)} changes pending, from {way.before.name} to {way.after.name}; nothing is lost",
        Exit.PENDING if exit_code else Exit.DONE,
        changes=changes,
        tables=tables.plan(way.migration),
        warnings=(*record.warnings(session.cluster, way.situation.facts), *way.warnings),
        times=tuple(session.progress.times.items()),
    )


def _to_go_on(problem: Problem) -> Problem:
    """Return the problem with what goes on with a migration: `provision` does not."""
    advice = problem.advice.replace("run provision again", f"run {record.VERB} again")
    return replace(problem, advice=advice if record.VERB in advice else f"{record.VERB} goes on from here; {advice}")


def _planes(session: Session) -> tuple[Plane, Plane] | Report:
    """Return the control planes before and after, or the report that there is nothing to migrate. PreflightRefused."""
    cluster = session.cluster
    there = record.under_way(cluster)
    before = next((one for one in planes.known() if there and one.name == there.before), planes.recorded(cluster))
    if before is None:
        what = "this controller has not provisioned the cluster"
        advice = f"bring the folder {cluster.folder} from the controller that has; or fab provision"
        raise PreflightRefused(Problem(what, str(cluster.path), advice))
    after = planes.successor(before)
    if after is None:
        return Report("migrate", f"nothing to migrate: the cluster is on {before.name}")
    if cluster.control_plane not in ("auto", after.name):
        what = f"docker.control_plane: {cluster.control_plane}, and the migration leads to {after.name}"
        advice = "write `control_plane: auto`, or leave the line out"
        raise PreflightRefused(Problem(what, str(cluster.path), advice))
    if cluster.absent:
        names = ", ".join(host.name for host in cluster.absent)
        what = f"{names}: still to leave the cluster (state: absent)"
        raise PreflightRefused(Problem(what, str(cluster.path), "fab provision; then delete the entry"))
    return before, after


def _surveyed(session: Session, before: Plane, after: Plane, remotes: Remotes, ignore: Sequence[str]) -> Way:
    """Ask every node everything, and look for obstacles to the next control plane. PreflightRefused."""
    ignored = named(catalogue.of_preflight(after), ignore, "--ignore")
    session.aim_at(after)
    situation = _asked(session, before, after, remotes)
    migration = _migration(session, before, after, situation, remotes)
    situation = steps.with_flows(session, situation, remotes)
    way = Way(before, after, situation, migration)
    # A node that has stopped goes on, whatever stands in the way.
    stopped = {name for name, there in situation.facts.items() if nodes.is_stopped(before, there)}
    outcomes = tuple(
        outcome
        for outcome in node_view.run(after, way.foreseen, catalogue.of_preflight(after), ignored)
        if outcome.where not in stopped
    )
    if obstacles := [outcome.problem for outcome in failures(outcomes)]:
        raise PreflightRefused(*obstacles)
    warned = (outcome.problem for outcome in outcomes if outcome.status == "warning")
    return replace(way, warnings=(*inventory.warnings(session.cluster), *warned))


def _asked(session: Session, before: Plane, after: Plane, remotes: Remotes) -> Situation:
    start = Situation(session.cluster, after.local(session.cluster)[0], recorded=True)
    also = facts.join([nodes.QUESTION, facts.Question(paths=before.traces, units=before.services)])
    questions = {node.name: facts.join([engine.question(after, start, node), also]) for node in session.cluster.nodes}
    for remote in remotes:
        session.progress.say(remote.node.name, "asking for facts")
    with session.progress.stage("facts"):
        found = engine.answers({name: facts.script(asked) for name, asked in questions.items()}, remotes)
    return engine.completed(after, replace(start, facts=found), remotes)


def _migration(session: Session, before: Plane, after: Plane, situation: Situation, remotes: Remotes) -> Migration:
    """Return the record: of nodes that have not stopped as they are now, of others as it was written before."""
    there = record.under_way(session.cluster) or _recorded_on(situation)
    running = tuple(node for node in session.cluster.nodes if not nodes.is_stopped(before, situation.of(node)))
    seen = _containers(
        situation, remotes, [node for node in running if nodes.stage(before, situation.of(node)) < Stage.DONE]
    )
    known = [one for one in (there.containers if there else ()) if one.node not in seen]
    containers = (*known, *(one for some in seen.values() for one in some))
    kept = () if there or situation.networks else before.kept_networks(remotes, session.cluster)
    found = networks.known(situation, containers, there.networks if there else (), map(networks.of_docker, kept))
    names = {network.name for network in found}
    many = MORE * (len(session.cluster.nodes) + len(containers))
    free = tuple(networks.kept_free(network, containers, many) for network in found)
    return Migration(before.name, after.name, free, tuple(_on(one, names) for one in containers))


def _recorded_on(situation: Situation) -> Migration | None:
    """Return the record that a node holds, if one does: of a migration that another controller has begun."""
    there = ((name, facts.paths.get(nodes.RECORD)) for name, facts in situation.facts.items())
    texts = ((name, path.text) for name, path in there if path and path.text)
    return next((record.parsed(text, f"{name}: {nodes.RECORD}") for name, text in texts), None)


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
        known = {one.identity for one in attached}
        plain = (one for one in situation.of(remote.node).containers if one.identity not in known and is_a_users(one))
        others = (Container(remote.node.name, one.identity, one.name, "", True, "", ()) for one in plain)
        return (*attached, *others)

    return remotes.each(read, tuple(wanted))


def _respect_users(session: Session, way: Way, remotes: Remotes) -> None:
    """Raise ConsentMissing if data of a user goes with the former control plane: Docker's own goes along."""
    if any(nodes.is_stopped(way.before, there) for there in way.situation.facts.values()):
        return
    situation = replace(way.situation, local=way.before.local(session.cluster)[0])
    coordinator = way.before.open(remotes, situation)
    try:
        problems = tuple(coordinator.users_data(situation))
    except Unanswered as error:
        problems = (Problem(str(error), "cluster"),)
    finally:
        coordinator.close()
    advice = "save it elsewhere, or let it go with the former control plane: --delete-user-data"
    if problems:
        raise ConsentMissing(*(replace(problem, advice=advice) for problem in problems))


def _consent(session: Session, way: Way) -> None:
    """Ask for a yes to what stops. ConsentMissing."""
    running = [f"{one.node}: {one.name}" for one in way.migration.containers if one.runs]
    what = f"stop Docker on every node, with {len(running)} containers ({', '.join(running)}), and start them again"
    if not session.agreed(f"Migrate from {way.before.name} to {way.after.name}? It will {what}."):
        advice = "fab migrate --plan shows it; add --yes to agree in advance"
        raise ConsentMissing(Problem(f"migrate would {what}", "cluster", advice))


def _record(session: Session, way: Way, remotes: Remotes) -> None:
    """Write the record, here and on each node that is not done, before anything stops there."""
    record.begin(session.cluster, way.migration)
    content = way.migration.text().encode()
    there = tuple(
        node for node in session.cluster.nodes if nodes.stage(way.before, way.situation.of(node)) < Stage.DONE
    )
    remotes.each(lambda remote: remote.push(content, nodes.RECORD), there)


def _left(session: Session, way: Way, plan: Plan, remotes: Remotes) -> Way:
    """Let every node leave the former control plane; from then on the cluster is the next one's."""
    with session.coordinator(remotes, way.situation) as coordinator:
        engine.carry_out(way.leaving, way.situation, plan, coordinator, session.progress)
    planes.record(session.cluster, way.after)
    return replace(way, situation=_asked(session, way.before, way.after, remotes))


def _entered(session: Session, way: Way, remotes: Remotes) -> Report:
    """Set up the next control plane, bring the containers back, prove both, and end the migration."""
    later = way.foreseen
    plan = engine.make_plan(way.entering, later)
    with session.coordinator(remotes, later) as coordinator:
        after = engine.carry_out(way.entering, later, plan, coordinator, session.progress)
        after = replace(after, cluster=session.cluster)
        outcomes = proven_and_settled(session, after, coordinator, plan)
        back = proof.proven(session.cluster, way.migration, remotes, session.run)
    outcomes = (*outcomes, *back.outcomes)
    bad = len(list(failures(outcomes)))
    if not bad:
        remotes.each(lambda remote: remote.run(nodes.CLEAN, changes=True, what="ending the migration"))
        record.end(session.cluster, planes.RECORD)
    return Report(
        "migrate",
        f"from {way.before.name} to {way.after.name}: {back.summary}; "
        + (f"{bad} of {len(outcomes)} proofs failed" if bad else f"all {len(outcomes)} proofs hold"),
        Exit.VERIFICATION_FAILED if bad else Exit.DONE,
        changes=plan.changes,
        outcomes=outcomes,
        tables=back.tables,
        warnings=way.warnings,
        times=tuple(session.progress.times.items()),
    )
