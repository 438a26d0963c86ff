"""Docker upgraded: what is refused, in which order nodes go, and what the next one waits for. Facts in, words out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from swarm_sample import NODES, at_work, bare, listed, own

from provision.checks import node_view
from provision.checks.preflight import upgrade as preflight
from provision.core.check import collect
from provision.core.outcome import failures
from provision.core.plane import Plane, Stage, as_it_is
from provision.core.situation import Situation
from provision.engine import foresee, make_plan
from provision.errors import PreflightRefused, Problem, StepFailed
from provision.facts import Container, Facts
from provision.facts.installed import installed
from provision.inventory.model import Archive, DockerEngine
from provision.phases import gate, upgrade
from provision.phases.gate import Found
from provision.planes import chosen, known
from provision.planes.etcd.plane import PLANE as ETCD
from provision.planes.swarm import gate as swarm_gate
from provision.planes.swarm import managers, view
from provision.planes.swarm.plane import PLANE as SWARM
from provision.verbs import provision

OFFERED = ("28.5.2+dfsg4-5", "26.1.5+dfsg1-9", "20.10.24+dfsg1-1")
WEB = Container("1", "web", ("demo",), "always")
ONCE = Container("2", "once", ("demo",), "no")
NOWHERE = Path("/nonexistent")


def answer(*more: str, package: str = "docker.io", status: str = "install ok installed") -> str:
    """What a node tells of its package."""
    owner = (f"package {package}", f"status {status}") if package else ()
    return "\n".join((*owner, *(f"offered {one}" for one in OFFERED), *more))


def with_docker(situation: Situation, version: str, told: str | None = None, *names: str) -> Situation:
    """The same, with this Docker on all nodes, or on those named."""
    changed = {
        name: replace(
            facts,
            values={**facts.values, "dockerd": f"Docker version {version}+dfsg1, build 1"},
            answers={**facts.answers, "docker-package": answer() if told is None else told},
        )
        for name, facts in situation.facts.items()
        if not names or name in names
    }
    return replace(situation, facts={**situation.facts, **changed})


def wanting(situation: Situation, **engine: Any) -> Situation:
    """The same, with this in the inventory."""
    return replace(situation, cluster=replace(situation.cluster, docker_engine=DockerEngine(**engine)))


def refused(situation: Situation, plane: Plane = SWARM) -> list[tuple[str, str, str]]:
    """What preflight says of upgrades: where, what, and the advice."""
    outcomes = node_view.run(plane, situation, collect(preflight))
    return [(one.where, one.evidence, one.advice) for one in failures(outcomes)]


def test_258_each_upgrade_is_named_with_what_it_stops(tmp_path: Path) -> None:
    situation = with_docker(wanting(at_work(tmp_path), version="28"), "26.1.5")
    busy = replace(situation.facts["node2"], containers=(WEB, ONCE))
    situation = replace(situation, facts={**situation.facts, "node2": busy})
    first, second = upgrade.stages(situation, (Stage(as_it_is),))
    changes = make_plan(SWARM, first.enter(situation)).changes
    assert [(one.where, one.action, one.resource, one.stops) for one in changes] == [
        ("node1", "upgrade", "Docker", ()),
        ("node2", "upgrade", "Docker", ("once",)),
        ("node3", "upgrade", "Docker", ()),
    ]
    assert changes[0].note == (
        "26.1.5 → 28.5.2; the managers have no majority meanwhile: no container can join a network, packets go on"
    )
    assert changes[1].note.endswith("stops for 10 to 30 s: web, once")
    assert changes[2].note == "26.1.5 → 28.5.2"  # a worker
    assert all(change.restarts for change in changes)
    assert second.title == upgrade.TITLE
    # The stages after it are planned as ever, and upgrade nothing.
    later = foresee(SWARM, first.foresee(situation), second.foresee(situation))
    assert later.changes
    assert not [change for change in later if change.action == "upgrade"]


def test_258_nothing_to_upgrade_is_no_stage(tmp_path: Path) -> None:
    following = (Stage(as_it_is),)
    for version, wanted in (("28.5.2", "28"), ("28.5.2", "28.5.2"), ("26.1.5", ""), ("28.5.2", "26")):
        situation = with_docker(wanting(at_work(tmp_path), version=wanted), version)
        assert upgrade.stages(situation, following) == following
        assert upgrade.coming(situation, NODES[0]) == ""


@pytest.mark.parametrize(
    ("told", "note"),
    [
        (answer(status="install ok half-configured"), "28.5.2, which was not completed"),
        (answer("stale yes"), "28.5.2, which was not completed"),
        (answer(status="hold ok installed"), None),
    ],
)
def test_260_an_upgrade_that_was_interrupted_is_ended(told: str, note: str | None) -> None:
    wanted = upgrade.Engine("docker.io", "28")
    facts = Facts(values={"dockerd": "Docker version 28.5.2, build 1"}, answers={"docker-package": told})
    difference = wanted.compare(facts)
    assert (difference and difference.note) == note


def test_261_a_downgrade_is_refused_with_both_versions(tmp_path: Path) -> None:
    situation = with_docker(wanting(at_work(tmp_path), version="26"), "28.5.2", None, "node2")
    ((where, what, advice),) = refused(with_docker(situation, "26.1.5", None, "node1", "node3"))
    assert where == "node2"
    assert what == "Docker 28.5.2 is later than 26, which docker.version names: a downgrade is not made"
    assert "name 28.5 or later there" in advice
    archives = {"amd64": Archive(NOWHERE / "docker-26.1.5.tgz", "0")}
    told = refused(_of_amd64(with_docker(wanting(at_work(tmp_path), archives=archives), "28.5.2")))
    assert [(where, "which docker.source names" in what) for where, what, _ in told] == [
        (node.name, True) for node in NODES
    ]


def test_262_an_upgrade_beyond_the_control_plane_is_refused(tmp_path: Path) -> None:
    situation = with_docker(wanting(bare(tmp_path), version="26"), "20.10.24")
    assert refused(situation, SWARM) == []
    told = refused(situation, ETCD)
    assert [where for where, _, _ in told] == ["node1", "node2", "node3"]
    assert "Docker 20.10.24 cannot become 26.1.5 in this cluster: Docker 23 and later refuse" in told[0][1]
    assert "fab migrate" in told[0][2]
    assert refused(with_docker(wanting(bare(tmp_path), version="20.10.25"), "20.10.24"), ETCD)[0][1].endswith(
        f"apt knows {', '.join(OFFERED)}"
    )


def test_262_without_a_quorum_no_docker_is_upgraded(tmp_path: Path) -> None:
    there = at_work(tmp_path)
    lost = {name: replace(facts, docker={view.INFO: facts.docker[view.INFO]}) for name, facts in there.facts.items()}
    told = refused(with_docker(wanting(replace(there, facts=lost), version="28"), "26.1.5"))
    assert [where for where, _, _ in told] == ["node1", "node2", "node3"]
    assert "Docker 26.1.5 cannot become 28.5.2: the swarm has no quorum" in told[0][1]


@pytest.mark.parametrize(
    ("version", "told", "words"),
    [
        ("27", answer(), "apt knows 28.5.2+dfsg4-5, 26.1.5+dfsg1-9, 20.10.24+dfsg1-1"),
        ("28", answer(package="docker-ce"), "dockerd is of the package docker-ce, and docker.package is docker.io"),
        ("28", answer(package=""), "dockerd is of no package, and docker.package is docker.io"),
        ("28", answer("held user"), "the package docker.io is held (apt-mark showhold), and not by us"),
        ("28", answer("held ours"), ""),
    ],
)
def test_263_what_apt_cannot_install_is_refused(tmp_path: Path, version: str, told: str, words: str) -> None:
    situation = with_docker(wanting(at_work(tmp_path), version=version), "26.1.5", told)
    problems = refused(situation)
    assert len(problems) == (3 if words else 0)
    assert all(words in what and advice for _, what, advice in problems)


def test_263_what_is_not_from_an_archive_of_ours_becomes_none(tmp_path: Path) -> None:
    archives = {"amd64": Archive(NOWHERE / "docker-28.5.2.tgz", "0")}
    situation = _of_amd64(with_docker(wanting(at_work(tmp_path), archives=archives), "26.1.5"))
    assert all("it is of the package docker.io" in what for _, what, _ in refused(situation))
    ours = {
        name: replace(facts, values={**facts.values, "docker-ours": "archive"})
        for name, facts in situation.facts.items()
    }
    told = refused(replace(situation, facts=ours))
    assert all("/nonexistent/docker-28.5.2.tgz: cannot be read" in what for _, what, _ in told)


def test_263_a_node_whose_cpu_docker_source_lacks_is_named(tmp_path: Path) -> None:
    archives = {"arm64": Archive(NOWHERE / "docker-28.5.2.tgz", "0")}
    situation = wanting(at_work(tmp_path), archives=archives)
    told = refused(_of_amd64(with_docker(situation, "26.1.5")))
    assert [where for where, _, _ in told] == ["node1", "node2", "node3"]
    assert told[0][1] == "Docker 26.1.5 cannot become 28.5.2: docker.source has no archive for amd64"
    assert told[0][2].startswith("add amd64: {archive:")
    assert refused(_of_amd64(with_docker(situation, "28.5.2"))) == []


def _of_amd64(situation: Situation) -> Situation:
    return replace(
        situation,
        facts={
            name: replace(facts, values={**facts.values, "machine": "x86_64"})
            for name, facts in situation.facts.items()
        },
    )


def test_the_latest_offered_version_is_taken() -> None:
    there = installed(
        Facts(answers={"docker-package": "offered 5:28.5.2-1~debian\noffered 5:28.50.1-1\noffered 5:28.4.0-1"})
    )
    assert there.best("28.5") == "5:28.5.2-1~debian"
    assert there.best("28.50") == "5:28.50.1-1"
    assert there.best("28.4.0") == "5:28.4.0-1"
    assert there.best("2") == ""


def test_the_control_plane_of_a_new_cluster_is_the_one_for_the_docker_it_gets(tmp_path: Path) -> None:
    situation = with_docker(bare(tmp_path), "20.10.24")
    assert chosen(known(), situation).name == "etcd"
    assert chosen(known(), wanting(situation, version="26")).name == "swarm"


def test_265_the_leader_is_upgraded_last_and_nobody_together(tmp_path: Path) -> None:
    situation = with_docker(wanting(at_work(tmp_path), version="28"), "26.1.5")
    (phase,) = (one for one in SWARM.phases if one.name == "upgrade")
    now = upgrade.stages(situation, (Stage(as_it_is),))[0].enter(situation)
    changes = {node.name: make_plan(SWARM, now).of(node.name, "upgrade") for node in NODES}
    waves = [[node.name for node in wave] for wave in phase.waves(now, changes) if wave]
    assert waves == [["node3"], ["node2"], ["node1"]]
    apart = wanting(with_docker(bare(tmp_path), "26.1.5"), version="28")
    assert [len(wave) for wave in phase.waves(apart, changes)] == [3]


def test_265_with_three_managers_one_may_be_away(tmp_path: Path) -> None:
    third = listed(NODES[2], role="manager")
    assert managers.cost_of_one(at_work(tmp_path, node3=third), NODES[0]) == ""
    assert "no majority" in managers.cost_of_one(at_work(tmp_path), NODES[0])
    assert managers.cost_of_one(at_work(tmp_path), NODES[2]) == ""


def found(name: str, node: str = "node1", **other: Any) -> Found:
    there = Found(node, name, runs=True, comes_back=True, networks=frozenset({"demo", ""}))
    return replace(there, **other)


def test_259_a_container_that_does_not_come_back_is_named() -> None:
    ran = {("node1", "web"), ("node1", "once")}
    assert list(gate.unwell(ran, [found("web")])) == []
    assert list(gate.unwell(ran, [found("web", runs=False)])) == ["web does not run on node1"]
    assert list(gate.unwell(ran, [found("once", runs=False, comes_back=False)])) == []
    assert list(gate.unwell(ran, [])) == []  # its user has removed it meanwhile
    assert list(gate.unwell(ran, [found("web", "node2", runs=False)])) == []  # its user has stopped it elsewhere
    error = "Could not attach to network demo: context deadline exceeded"
    gone = found("web", "node2", runs=False, is_cut_off=True, error=error)
    assert list(gate.unwell((), [gone])) == [f"web does not run on node2: {error}"]
    volume = "error while mounting volume: network is unreachable"
    assert list(gate.unwell((), [replace(gone, is_cut_off=False, error=volume)])) == []


def test_259_a_container_answers_by_name_from_another_node(tmp_path: Path) -> None:
    situation = at_work(tmp_path)
    keeper = "overlay-keeper-demo-node1"
    here = [
        found("web"),
        found(keeper),
        found("db", "node2"),
        found("off", "node2", runs=False),
        found("plain", networks=frozenset()),
    ]
    asked = gate.questions(here, situation, NODES[0])
    assert asked == {keeper: ("db",)}
    assert gate.questions(here, situation, NODES[1]) == {}  # its keeper is not there yet
    assert list(gate.silent(here, asked, NODES[0], [f"{keeper}\t."])) == []
    assert list(gate.silent(here, asked, NODES[0], [f"{keeper}\tdb", f"{keeper}\t."])) == [
        f"db on node2 does not answer {keeper} on node1 by name"
    ]
    assert list(gate.silent(here, asked, NODES[0], [])) == [f"{keeper} on node1 cannot be asked"]


def test_259_a_node_that_has_not_joined_yet_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    situation = at_work(tmp_path)
    joining = replace(situation, facts={**situation.facts, "node3": bare(tmp_path).facts["node3"]})
    (phase,) = (one for one in SWARM.phases if one.name == "upgrade")
    asked: list[list[str]] = []

    def run(_: object, scripts: dict[str, str]) -> dict[str, list[str]]:
        asked.append(sorted(scripts))
        return {name: [f"/overlay-keeper-demo-{name}\trunning\talways\tdemo,\t\t"] for name in scripts}

    monkeypatch.setattr(gate, "_run", run)
    monkeypatch.setattr(gate, "silent", lambda *_: ())
    coordinator = Mock()
    phase.before(joining, coordinator, (NODES[0],))
    phase.after(joining, coordinator, (NODES[0],))
    assert asked == [["node1", "node2"]] * 4


def test_258_an_obstacle_found_after_the_upgrade_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> None:
        raise PreflightRefused(Problem("node2 is too old", "node2", "replace it"))

    monkeypatch.setattr(provision, "warned", refusing)
    with pytest.raises(StepFailed) as raised:
        provision._looked_at_again(Mock(), Mock(), ())
    assert [one.what for one in raised.value.problems] == ["node2 is too old", "Docker is installed or upgraded"]
    assert raised.value.problems[1].advice == "mend this and run provision again"


def test_260_whether_dockerd_ran_is_recorded_before_its_upgrade() -> None:
    assert upgrade.Engine("docker.io", "28").remember() == "remember_unit docker.service"


def test_262_what_was_interrupted_is_looked_at_like_an_upgrade(tmp_path: Path) -> None:
    half = answer(status="install ok half-configured")
    situation = with_docker(wanting(bare(tmp_path), version="26"), "26.1.5", half)
    told = refused(situation, ETCD)
    assert [where for where, _, _ in told] == ["node1", "node2", "node3"]
    assert "the upgrade to Docker 26.1.5, which was interrupted, cannot be completed in this cluster" in told[0][1]
    assert refused(situation, SWARM) == []
    # What apt knows is no matter, nor whether the cluster has a quorum: the interruption may be the cause.
    lost = at_work(tmp_path)
    lost = replace(lost, facts={n: replace(f, docker={view.INFO: f.docker[view.INFO]}) for n, f in lost.facts.items()})
    unknown = "package docker.io\nstatus install ok half-configured\noffered 29.1.0-1"
    assert refused(with_docker(wanting(lost, version="26"), "26.1.5", unknown)) == []
    other = answer(package="docker-ce", status="install ok half-configured")
    assert "dockerd is of the package docker-ce" in refused(with_docker(situation, "26.1.5", other))[0][1]


def test_259_who_is_not_wholly_in_the_swarm_is_named() -> None:
    daemons = {node.name: view.told(own(node)) for node in NODES}
    entries = {node.name: view.entry(listed(node, leader=node is NODES[0])) for node in NODES}

    def said(missing: tuple[str, ...] = (), **other: view.Listed) -> list[str]:
        there = tuple({**entries, **other}.values())
        return list(swarm_gate.unwell(swarm_gate.Seen(daemons, there, {("demo", "node2"): missing})))

    assert said() == []
    assert said(("node3",)) == ["on network demo, node2 does not know node3"]
    assert said(node3=view.entry(listed(NODES[2], ready=False))) == ["the managers list node3 as not ready"]
    assert said(node2=replace(entries["node2"], reachable=False)) == [
        "the manager node2 is not reachable for the others"
    ]
    assert said(node2=replace(entries["node2"], identity="another")) == ["the managers list node2 as unknown"]
    daemons["node2"] = view.told(own(NODES[1], "pending", error="no leader"))
    assert said()[0] == "the swarm of node2 is pending: no leader"


def test_264_an_upgrade_by_hand_is_said(tmp_path: Path) -> None:
    situation = with_docker(at_work(tmp_path), "28.5.2")
    assert upgrade.by_hand(situation) == ()
    before = replace(
        situation.facts["node2"],
        values={**situation.facts["node2"].values, "dockerd-before": "Docker version 26.1.5+dfsg1, build 1"},
    )
    (problem,) = upgrade.by_hand(replace(situation, facts={**situation.facts, "node2": before}))
    assert (problem.where, problem.what) == (
        "node2",
        "Docker was 26.1.5 here and is 28.5.2, which no run of ours has done: the cluster is proven with it",
    )
