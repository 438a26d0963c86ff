"""What is found before a migration: obstacles are told before anything stops, and what comes along is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import swarm_sample

from provision import gathering, layout, planes
from provision.checks.preflight import network
from provision.core.situation import Situation
from provision.docker.containers import Container
from provision.errors import PreflightRefused, Problem, StepFailed
from provision.facts import Facts, PathFact
from provision.inventory.model import Node
from provision.migration import nodes, record
from provision.planes.etcd import pki
from provision.planes.etcd.plane import PLANE as ETCD
from provision.planes.swarm.plane import PLANE as SWARM
from provision.remote import Remotes
from provision.report import Report
from provision.report.progress import Progress
from provision.verbs import migrate, migration_survey, steps
from provision.verbs.session import Session

CONTAINERS = "root\t/var/lib/docker\nrecorded\n"


class Answer:
    """What a node's script printed."""

    def __init__(self, stdout: str, code: int = 0) -> None:
        self.stdout, self.code, self.stderr = stdout, code, ""


class Remote:
    """A node that prints this on every script, and whose sshd may refuse sockets."""

    def __init__(self, node: Node, refusal: Problem | None, answer: Answer) -> None:
        self.node, self._refusal, self._answer = node, refusal, answer

    def sockets_refused(self) -> Problem | None:
        return self._refusal

    def tunnel_refused(self, port: int) -> None:
        return None

    def run(self, script: str, **how: Any) -> Answer:
        return self._answer


class Nodes(list[Remote]):
    """Connections to these nodes."""

    def each(self, step: Callable[[Remote], Any], only: Sequence[Node] | None = None) -> dict[str, Any]:
        names = {node.name for node in only} if only is not None else {one.node.name for one in self}
        return {one.node.name: step(one) for one in self if one.node.name in names}


class Survey:
    """A survey of hosts on the former control plane, of which these facts are what they answer."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        situation = swarm_sample.bare(folder)
        self.cluster = replace(situation.cluster, control_plane="auto")
        store = {ETCD.traces[0]: PathFact("file", 0o600, "root:root")}
        self.facts: dict[str, Facts] = {
            name: replace(one, paths=store, values={**one.values, "vxlan": "yes"})
            for name, one in situation.facts.items()
        }
        self.refusal: Problem | None = None
        self.containers = Answer(CONTAINERS)
        planes.record(self.cluster, ETCD)
        patch.setattr(gathering, "answers", lambda *_: self.answers())
        patch.setattr(gathering, "completed", lambda _, found, __: found)
        patch.setattr(steps, "with_flows", lambda _, found, __: found)
        patch.setattr(ETCD, "kept_networks", lambda *_: (), raising=False)
        self.checks = (network.forwarding,)
        patch.setattr(migration_survey.catalogue, "of_preflight", lambda *_: self.checks)

    def answers(self) -> dict[str, Facts]:
        return self.facts

    def changed(self, name: str, **what: Any) -> None:
        self.facts[name] = replace(self.facts[name], **what)

    def holds(self, name: str, path: str, text: str) -> None:
        there = PathFact("file", 0o600, "root:root", text=text)
        self.changed(name, paths={**self.facts[name].paths, path: there})

    def made(self) -> migration_survey.Way:
        session = Session(self.cluster.path, cast("Any", None), cast("Progress", Silent()))
        session.__dict__["cluster"] = self.cluster
        there = Nodes(Remote(node, self.refusal, self.containers) for node in self.cluster.nodes)
        return migration_survey.surveyed(session, ETCD, SWARM, cast("Remotes", there), ())


class Silent:
    """Nobody is told anything."""

    def say(self, *_: str) -> None:
        pass

    def stage(self, _: str) -> Any:
        return nullcontext()


@pytest.fixture
def survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Survey:
    return Survey(tmp_path, monkeypatch)


def test_254_an_sshd_that_forwards_no_sockets_is_an_obstacle_before_anything_stops(survey: Survey) -> None:
    assert survey.made().situation.facts.keys() == {"node1", "node2", "node3"}
    survey.refusal = Problem("sshd forwards no sockets", "", "AllowStreamLocalForwarding yes")
    with pytest.raises(PreflightRefused, match="sshd forwards no sockets"):
        survey.made()


def test_254_a_question_that_fails_is_a_refusal(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> dict[str, Facts]:
        raise StepFailed(Problem("the disk is full", "node2"))

    monkeypatch.setattr(survey, "answers", fail)
    with pytest.raises(PreflightRefused, match="the disk is full") as raised:
        survey.made()
    assert record.VERB not in str(raised.value)


def test_254_containers_that_cannot_be_read_are_a_refusal(survey: Survey) -> None:
    survey.containers = Answer("", 1)
    with pytest.raises(PreflightRefused, match="cannot read the containers"):
        survey.made()


def test_254_a_node_of_another_cluster_is_refused_unless_it_has_stopped(survey: Survey) -> None:
    survey.holds("node2", layout.DOCKER_DROP_IN, "# Written by overlay-provision for the cluster other; see there\n")
    with pytest.raises(PreflightRefused, match="belongs to the cluster other"):
        survey.made()
    survey.holds("node2", nodes.STAGE, "stopped\n")
    survey.holds("node2", nodes.RECORD, "{}")
    record.begin(survey.cluster, record.Migration("etcd", "swarm", (), ()))
    survey.made()


def test_254_a_node_with_certificates_of_another_controller_is_refused(survey: Survey) -> None:
    pki.Identity.read(survey.cluster)
    survey.holds("node1", ETCD.authorities[0], "-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(PreflightRefused, match="of an authority that this controller lacks"):
        survey.made()


def test_248_a_node_that_was_never_part_keeps_its_obstacles_and_its_containers_are_named(survey: Survey) -> None:
    identity = "a" * 64
    survey.containers = Answer(
        f"container\t{identity}\tplain\tbusybox\tyes\tno\nattachment\t{identity}\tbridge\t\t172.17.0.2\tno\nrecorded\n"
    )
    survey.changed("node2", paths={})
    assert [one.node for one in survey.made().migration.containers] == ["node1", "node2", "node3"]
    survey.refusal = Problem("sshd forwards no sockets")
    with pytest.raises(PreflightRefused) as raised:
        survey.made()
    assert [problem.where for problem in raised.value.problems] == [f"{name} [forwarding]" for name in survey.facts]


def test_248_a_node_that_is_cleaned_keeps_what_was_recorded_of_it(survey: Survey) -> None:
    web = Container("node2", "b" * 64, "web", "busybox", True, "no", ())
    record.begin(survey.cluster, record.Migration("etcd", "swarm", (), (web,)))
    survey.changed("node2", paths={})
    assert survey.made().migration.of("node2") == (web,)
    assert isinstance(survey.made().situation, Situation)


def test_254_a_network_that_cannot_come_along_is_refused_unless_a_node_has_stopped(survey: Survey) -> None:
    network = {"Name": "a.b", "Scope": "global", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24"}]}}
    survey.changed("node1", networks=(network,))
    with pytest.raises(PreflightRefused, match=r"network a\.b cannot come along to swarm"):
        survey.made()
    survey.holds("node2", nodes.STAGE, "stopped\n")
    survey.holds("node2", nodes.RECORD, "{}")
    record.begin(survey.cluster, record.Migration("etcd", "swarm", (), ()))
    survey.made()


def test_247_a_damaged_copy_on_one_node_leaves_those_of_the_others(survey: Survey) -> None:
    text = record.Migration("etcd", "swarm", (), ()).text()
    survey.holds("node1", nodes.RECORD, "{")
    survey.holds("node1", nodes.STAGE, "stopped\n")
    with pytest.raises(PreflightRefused, match=r"node1: /var/lib/overlay-provision/migration\.json"):
        survey.made()
    survey.holds("node2", nodes.RECORD, text)
    assert survey.made().migration.before == "etcd"


@pytest.mark.parametrize(
    ("text", "said"), [("", None), (record.Migration("etcd", "swarm", (), ()).text(), (ETCD, SWARM))]
)
def test_249_a_node_says_that_a_migration_is_under_way_where_the_controller_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: object
) -> None:
    cluster = replace(swarm_sample.bare(tmp_path).cluster, control_plane="auto")
    planes.record(cluster, SWARM)

    @contextmanager
    def connected(_: Session) -> Iterator[Nodes]:
        yield Nodes([Remote(cluster.nodes[0], None, Answer(text))])

    monkeypatch.setattr(Session, "connected", connected)
    session = Session(cluster.path, cast("Any", None), cast("Progress", Silent()))
    session.__dict__["cluster"] = cluster
    there = migrate._planes(session)
    assert there == said or (said is None and "nothing to migrate" in cast("Report", there).summary)


@pytest.mark.parametrize(
    ("paths", "is_asked"),
    [
        ({"node1": ()}, True),
        ({"node1": (nodes.RECORD,)}, False),
        ({"node1": (), "node2": (), "node3": ()}, False),
    ],
    ids=["never part", "stopped", "all are out"],
)
def test_256_a_node_that_was_never_part_does_not_say_that_users_were_asked(
    survey: Survey, monkeypatch: pytest.MonkeyPatch, paths: dict[str, tuple[str, ...]], is_asked: bool
) -> None:
    asked = []

    def open_store(*_: object) -> Any:
        asked.append(True)
        raise StepFailed(Problem("no etcd runs"))

    monkeypatch.setattr(ETCD, "open", open_store, raising=False)
    way = survey.made()
    for name, there in paths.items():
        survey.changed(name, paths={})
        if there:
            survey.holds(name, nodes.RECORD, "{}")
            survey.holds(name, nodes.STAGE, "stopped\n")
    way = replace(way, situation=replace(way.situation, facts=survey.facts))
    session = cast("Any", type("Session", (), {"cluster": survey.cluster}))
    with nullcontext() if not is_asked else pytest.raises(StepFailed, match="no etcd runs"):
        migrate._respect_users(session, way, cast("Any", None))
    assert bool(asked) is is_asked
