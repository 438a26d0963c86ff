"""`fab` with control planes of the tests' own, to show that verbs, engine, checks and reports name no plane.

There are two planes: one for Docker before 23, which the lab's hosts have, and one for later versions, which is never
chosen: only its question is asked.

python other_plane.py VERB...
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from ipaddress import IPv4Network
from typing import Any

from provision import planes
from provision.checks import verify
from provision.core.check import PREFLIGHT, Check, check
from provision.core.outcome import Outcome, failed, passed
from provision.core.phase import Phase
from provision.core.plan import CLUSTER, Change
from provision.core.plane import Coordinator, Goal, Plane, Stage, Status
from provision.core.resource import Resource
from provision.core.situation import Situation
from provision.core.table import Table
from provision.errors import Problem
from provision.facts import Question
from provision.inventory.model import Cluster, Node
from provision.ports import Port
from provision.remote import Remotes
from provision.resources import File
from provision.versions import Window

PATH = "/etc/other-plane"
#: A file on a node with a line for each time that the newer plane's question was asked.
ASKED = "/run/newer-asked"
#: The plane's shell function for a node.
FUNCTIONS = "fact_greeting() { [ ! -e /etc/greeted ] || echo hello | fact_encoded answer greeting; }"


class Mark(Phase):
    """A phase with a file on each node, and then a greeting, once for the cluster."""

    name = "mark"

    def resources(self, situation: Situation, node: Node) -> tuple[Resource, ...]:
        return (File(PATH, b"here\n"),)

    def cluster_changes(self, situation: Situation) -> tuple[Change, ...]:
        greeted = any(facts.answers.get("greeting") for facts in situation.facts.values())
        return () if greeted else (Change(CLUSTER, self.name, "greeting", "create", consent="greet"),)

    def change_cluster(self, situation: Situation, coordinator: Coordinator, change: Change) -> None:
        coordinator.remotes.each(lambda remote: remote.run("touch /etc/greeted", changes=True, what="greeting"))


class Door:
    """This plane's coordinator. It uses nothing but SSH."""

    def __init__(self, cluster: Cluster, remotes: Remotes) -> None:
        self.cluster, self.remotes = cluster, remotes

    @property
    def makers(self) -> tuple[Node, ...]:
        return self.cluster.nodes

    def docker(self, node: Node) -> Any:
        raise AssertionError("this plane has no way to Docker")

    def aim(self, situation: Situation) -> None:
        pass

    def await_quorum(self, occasion: str) -> None:
        pass

    def await_back(self, situation: Situation, nodes: Sequence[Node]) -> None:
        """Wait for nothing."""

    def cleaning_up_after(self, subnet: IPv4Network) -> AbstractContextManager[None]:
        return nullcontext()

    def users_data(self, situation: Situation) -> list[Problem]:
        return []

    def status(self, situation: Situation, *, store: bool) -> Status:
        rows = tuple((name, facts.answers.get("greeting", "")) for name, facts in situation.facts.items())
        nodes = dict.fromkeys(situation.facts, ("at rest", "7"))
        return Status("all at rest", True, (Table("greetings", "Greetings", ("node", "greeting"), rows),), nodes)

    def close(self) -> None:
        pass


@check(PREFLIGHT)
def not_taken(view: Any) -> Iterator[Outcome]:
    """Nobody else has greeted the node: the file belongs to us."""
    if view.facts.answers.get("greeting") == "no":
        yield view.failed("is greeted by somebody else", "wait")


@check("other", quick=True)
def is_marked(proof: Any) -> Iterator[Outcome]:
    """Each node has the file, which marks it as ours."""
    for name, result in proof.coordinator.remotes.each(lambda remote: remote.run(f"cat {PATH}")).items():
        yield passed(name, "marked") if result.stdout == "here\n" else failed(name, "not marked", "fab provision")


class Other(Plane):
    name = "other"
    docker_versions = Window(((18, 9),), (23,))
    docker_reason = "there is none"
    docker_advice = "install another"
    phases = (Mark(),)
    ports = (Port(7001, "tcp", "other.service", "greetings", "nothing"),)
    node_columns = ("answers",)

    def local(self, cluster: Cluster) -> tuple[object, tuple[Problem, ...]]:
        return "nothing", ()

    def describe_local(self, situation: Situation) -> str:
        return "nothing is kept"

    def question(self, situation: Situation, node: Node) -> Question:
        return Question(functions=(FUNCTIONS,), calls=("fact_greeting",))

    def stages(self, situation: Situation, goal: Goal) -> tuple[Stage, ...]:
        return (Stage(lambda now: now), Stage(lambda now: now, "nothing more"))

    def checks(self) -> tuple[Check, ...]:
        return (not_taken, is_marked)

    def on_the_network(self, situation: Situation, node: Node) -> bool:
        return False

    def node_functions(self, purpose: str) -> str:
        return "leave_network() { :; }\nend_membership() { rm -f /etc/greeted; }\nbundle_plane() { :; }"

    def open(self, remotes: Remotes, situation: Situation) -> Coordinator:
        return Door(situation.cluster, remotes)


class Newer(Other):
    """For another Docker. The controller lacks what it needs, which matters to nobody who does not get this plane."""

    name = "newer"
    docker_versions = Window(((23,),), (99,))
    ports = (Port(7002, "tcp", "newer.service", "nothing", "nothing"),)

    def local(self, cluster: Cluster) -> tuple[object, tuple[Problem, ...]]:
        return "too little", (Problem("something is missing", str(cluster.path), "add it"),)

    def question(self, situation: Situation, node: Node) -> Question:
        return Question(functions=(f"fact_newer() {{ echo asked >>{ASKED}; }}",), calls=("fact_newer",))

    def checks(self) -> tuple[Check, ...]:
        return ()


def main(*words: str) -> None:
    planes.known = lambda: (Newer(), Other())
    verify.CHECKS = ()

    from fabric.main import program

    program.run(["fab", *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
