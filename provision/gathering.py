"""Facts: every node is asked everything at once, and then what its first answers have made worth knowing."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from provision import facts, layout
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.docker.archive import normal
from provision.engine import steps
from provision.errors import Problem, ProvisionError, StepFailed
from provision.inventory.model import Node
from provision.recovery import generations
from provision.remote import Remote, Remotes, merged
from provision.resources import Service, Upgrade


def question(plane: Plane, situation: Situation, node: Node) -> facts.Question:
    """Return all that has to be asked of a node, for every phase at once."""
    whole = plane.whole(situation)
    phases = () if node in situation.cluster.absent else plane.phases
    resources = [resource for phase in phases for resource in phase.resources(whole, node)]
    ports = tuple(
        dict.fromkeys(
            port.number
            for port in plane.ports_of(situation.cluster)
            if port.listens and (node.member or not port.members)
        )
    )
    app = situation.cluster.app
    images = tuple(normal(one.image) for one in (app.redis, app.web)) if app else ()
    others = tuple(other.address for other in situation.cluster.nodes if other != node)
    drop_in = (layout.DOCKER_DROP_IN,)  # of a host that leaves, too: it names the cluster
    shared = facts.Question(ports=ports, images=images, neighbours=others, paths=drop_in, shown=drop_in)
    own = (shared, generations.QUESTION, plane.question(situation, node))
    return facts.join([*(resource.question() for resource in resources), *own])


def scripts(starts: Mapping[Plane, Situation]) -> Mapping[str, str]:
    """Return the one script that asks each node everything, for all these planes, by the node's name. Pure."""
    nodes = {node.name: node for situation in starts.values() for node in situation.cluster.hosts}
    return {
        name: facts.script(facts.join(question(plane, situation, node) for plane, situation in starts.items()))
        for name, node in nodes.items()
    }


def gather(plane: Plane, situation: Situation, remotes: Remotes) -> Situation:
    """Ask every node everything and return the situation with the answers."""
    return completed(plane, replace(situation, facts=answers(scripts({plane: situation}), remotes)), remotes)


def completed(plane: Plane, situation: Situation, remotes: Remotes) -> Situation:
    """Return the situation with what the first answers have made worth knowing.

    A node that was away during a recovery says nothing of the cluster.
    """
    present = generations.of_those_present(plane, situation)
    return with_policies(plane, followed_up(present, plane.follow_up(present), remotes), remotes)


def answers(scripts: Mapping[str, str], remotes: Remotes) -> Mapping[str, facts.Facts]:
    """Run each node's script, and return what it answers. One error holds the problems of every node."""
    found, silent = answers_of_some(scripts, remotes)
    if silent:
        raise merged(list(silent.values()))
    return found


def answers_of_some(
    scripts: Mapping[str, str], remotes: Remotes
) -> tuple[Mapping[str, facts.Facts], Mapping[str, ProvisionError]]:
    """Run each node's script. Return what the nodes answer, and the error of each node that does not."""
    found, silent = remotes.attempt(asking(scripts))
    found, fallen_silent = asked_again(scripts, remotes, found)
    return found, silent | fallen_silent


def asking(scripts: Mapping[str, str]) -> Callable[[Remote], facts.Facts]:
    """Return what runs a node's script, and returns its answer. StepFailed if that cannot be read."""
    # Steady: should this clock be set meanwhile, no node's would seem to be.
    epoch = time.time() - time.monotonic()

    def ask(remote: Remote) -> facts.Facts:
        began = time.monotonic()
        answer = _answer(remote, scripts[remote.node.name])
        ended = time.monotonic()
        try:
            return facts.with_clock(facts.parse(answer), epoch + began, epoch + ended)
        except (ValueError, LookupError, tarfile.TarError) as error:
            words = f"cannot read the facts: {type(error).__name__}: {error}"
            raise StepFailed(Problem(words, remote.node.name, "nothing was changed")) from error

    return ask


def asked_again(
    scripts: Mapping[str, str], remotes: Remotes, found: dict[str, facts.Facts]
) -> tuple[dict[str, facts.Facts], dict[str, ProvisionError]]:
    """Ask all once more if one of them has awaited the end of an upgrade: what others said meanwhile is out of date."""
    if not any(one.values.get("awaited-upgrade") for one in found.values()):
        return found, {}
    return remotes.attempt(asking(scripts), found)


def followed_up(situation: Situation, scripts: Mapping[str, str], remotes: Remotes) -> Situation:
    """Ask what the first answers have made worth knowing, by these scripts for nodes. A later answer counts."""

    def ask(remote: Remote) -> facts.Facts:
        more = facts.parse(_answer(remote, scripts[remote.node.name]))
        found = situation.of(remote.node)
        return replace(found, answers={**found.answers, **more.answers})

    nodes = tuple(node for node in situation.cluster.nodes if node.name in scripts)
    return replace(situation, facts={**situation.facts, **remotes.each(ask, nodes)}) if nodes else situation


def with_policies(plane: Plane, situation: Situation, remotes: Remotes) -> Situation:
    """Ask for the restart policies of containers, where a restart of their daemon makes them matter."""
    stopped = {
        step.node.name: step.node
        for step in steps(plane, situation)
        if step.change.restarts and isinstance(step.resource, (Service, Upgrade)) and step.resource.stops_containers
    }

    def ask(remote: Remote) -> facts.Facts:
        found = situation.of(remote.node)
        paths = [f"/containers/{container.identity}/json" for container in found.containers]
        answers = facts.docker_answers(_answer(remote, facts.docker_script(paths))) if paths else {}
        return facts.with_policies(found, answers)

    return replace(situation, facts={**situation.facts, **remotes.each(ask, tuple(stopped.values()))})


def with_marked(situation: Situation, remotes: Remotes) -> Situation:
    """Ask for what runs have marked where Docker did not answer before."""
    silent = tuple(node for node in situation.cluster.nodes if not situation.of(node).docker_answers)

    def ask(remote: Remote) -> facts.Facts:
        return facts.with_marked(situation.of(remote.node), _answer(remote, facts.marked_script()))

    return replace(situation, facts={**situation.facts, **remotes.each(ask, silent)})


def _answer(remote: Remote, script: str) -> str:
    result = remote.run(script, timeout=60)
    if result.code:
        words = f"cannot ask for facts: {result.stderr.strip()[-400:]}"
        raise StepFailed(Problem(words, remote.node.name, "nothing was changed"))
    return result.stdout
