"""Swarm mode: what is read of it, planned, refused and shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from swarm_sample import NODES, at_work, bare, certificate, facts, failed, listed, of_cluster, own

from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import PathFact
from provision.planes.swarm import leaving, paths, validity, view
from provision.planes.swarm.plane import PLANE
from provision.planes.swarm.status import status
from provision.planes.swarm.suites.nodes import leading
from provision.planes.swarm.validity import NODE


def test_the_first_member_makes_the_swarm_and_all_others_join_it(tmp_path: Path) -> None:
    assert of_cluster(bare(tmp_path)) == [
        "create swarm: node1 manages it",
        "add node2 in the swarm: manager",
        "add node3 in the swarm: worker",
    ]
    assert failed(bare(tmp_path)) == []


def test_a_swarm_as_wanted_needs_nothing_and_a_newcomer_only_joins(tmp_path: Path) -> None:
    situation = at_work(tmp_path)
    assert of_cluster(situation) == []
    left = facts({view.INFO: own(NODES[1], "inactive")})
    situation = replace(situation, facts={**situation.facts, "node2": left})
    assert of_cluster(situation) == ["add node2 in the swarm: manager"]


def test_a_role_follows_the_inventory(tmp_path: Path) -> None:
    situation = at_work(tmp_path)
    nodes = (NODES[0], replace(NODES[1], member=False), replace(NODES[2], member=True))
    situation = replace(situation, cluster=replace(situation.cluster, nodes=nodes))
    assert of_cluster(situation) == [
        "update role of node3: becomes a manager",
        "update role of node2: becomes a worker",
    ]


def test_managers_do_not_become_workers_where_that_would_cost_the_quorum(tmp_path: Path) -> None:
    deaf = {**listed(NODES[1]), "ManagerStatus": {"Reachability": "unreachable", "Addr": "192.0.2.2:2377"}}
    third = listed(NODES[2], role="manager")
    nodes = (NODES[0], NODES[1], NODES[2])
    situation = at_work(tmp_path, node2=deaf, node3=third)
    situation = replace(situation, cluster=replace(situation.cluster, nodes=nodes))
    with pytest.raises(PreflightRefused, match="without node3 only 1 of 2 members would be alive"):
        make_plan(PLANE, situation)
    every = tuple(replace(one, member=False) for one in nodes[:2])
    with pytest.raises(PreflightRefused, match="none of the managers that the swarm lists would stay one"):
        make_plan(PLANE, replace(at_work(tmp_path), cluster=replace(situation.cluster, nodes=(*every, nodes[2]))))


def test_a_manager_that_is_just_becoming_a_worker_leads_nobody() -> None:
    becoming = {name: value for name, value in listed(NODES[1]).items() if name != "ManagerStatus"}
    assert leading([becoming, listed(NODES[0], leader=True)]) == ["id-node1"]


def test_nodes_are_told_apart_by_their_ids_and_never_by_hostname(tmp_path: Path) -> None:
    situation = at_work(tmp_path, node2=listed(replace(NODES[1], name="node2-of-old")))
    assert view.found(situation, NODES[1]) is None
    assert [one.identity for one in leaving.entries(situation)] == ["id-node2-of-old"]


def test_a_swarm_that_this_tool_has_not_made_is_refused(tmp_path: Path) -> None:
    situation = replace(at_work(tmp_path), recorded=False)
    assert failed(situation) == [("our-swarm", one.name) for one in NODES]
    kept = {
        name: replace(found, paths={paths.PEERS: PathFact("file", 0o644, "root:root")})
        for name, found in situation.facts.items()
    }
    assert failed(replace(situation, facts=kept)) == []  # the controller has lost its folder
    there = at_work(tmp_path, node3=listed(replace(NODES[2], name="stranger")))
    assert failed(there) == [("our-swarm", "node3")]


@pytest.mark.parametrize("state", ["locked", "error", "pending"])
def test_a_daemon_whose_swarm_is_not_at_work_is_named(tmp_path: Path, state: str) -> None:
    situation = bare(tmp_path)
    sick = facts({view.INFO: own(NODES[1], state, error="no luck")})
    situation = replace(situation, recorded=True, facts={**situation.facts, "node2": sick})
    assert failed(situation) == [("healthy-swarm", "node2")]


@pytest.mark.parametrize(
    ("values", "check"),
    [
        ({"daemon-json": '{"live-restore": true}'}, "no-live-restore"),
        ({"docker-unit": "ExecStart=/usr/bin/dockerd --live-restore"}, "no-live-restore"),
        ({"daemon-json": '{"firewall-backend": "nftables"}'}, "firewall-backend"),
        ({"dockerd": "Docker version 28.0.0, build 1"}, "working-docker"),
        ({"dockerd": "Docker version 29.0.0, build 1"}, "working-docker"),
    ],
)
def test_a_docker_that_cannot_be_in_a_swarm_is_named(tmp_path: Path, values: dict[str, str], check: str) -> None:
    situation = bare(tmp_path)
    there = replace(situation.facts["node2"], values={**situation.facts["node2"].values, **values})
    assert failed(replace(situation, facts={**situation.facts, "node2": there})) == [(check, "node2")]


def test_without_a_leader_networks_wait_and_the_outage_is_said_with_dockers_words(tmp_path: Path) -> None:
    words = "rpc error: The swarm does not have a leader"
    alone = {one.name: facts({view.INFO: own(one, error=words)}) for one in NODES}
    situation = replace(at_work(tmp_path), facts=alone)
    (problem,) = PLANE.outage(situation)
    assert words in problem.what
    assert [one.resource for one in make_plan(PLANE, situation).changes if one.phase in ("overlay", "keeper")] == []
    assert status({}, situation).summary.startswith("0 of 2 managers healthy; no quorum (needs 2)")


def test_status_shows_each_nodes_role_and_what_may_still_be_lost(tmp_path: Path) -> None:
    shown = status({}, at_work(tmp_path))
    assert [row[0::2] for row in shown.tables[0].rows] == [
        ("node1", "leader"),
        ("node2", "manager"),
        ("node3", "worker"),
    ]
    assert (shown.summary, shown.is_well) == ("2 of 2 managers healthy; the swarm takes changes", True)
    down = status({}, at_work(tmp_path, node3=listed(NODES[2], ready=False)))
    assert (down.tables[0].rows[2][3], down.is_well) == ("no answer", False)


def test_status_says_what_waits_for_what(tmp_path: Path) -> None:
    stopped = {"node1": ("web",), "node2": ()}
    shown = status(stopped, at_work(tmp_path))
    ((*_, table),) = (shown.closing,)
    assert [row[:2] for row in table.rows] == [("node1", "container web")]
    assert not shown.is_well
    alone = {one.name: facts({view.INFO: own(one)}) for one in NODES}
    told = status({}, replace(at_work(tmp_path), facts=alone)).closing[-1].rows
    assert {row[2] for row in told} == {"for a quorum of the managers: of 2, 2 are needed, and 0 answer"}


def test_status_counts_the_containers_that_were_started(tmp_path: Path) -> None:
    situation = at_work(tmp_path)
    there = replace(situation.facts["node1"], paths={paths.STARTED: PathFact("file", 0o644, "root:root", text="3\n")})
    shown = status({}, replace(situation, facts={**situation.facts, "node1": there}))
    assert [shown.nodes[one.name] for one in NODES] == [
        ("in the swarm", "3"),
        ("in the swarm", "0"),
        ("in the swarm", "0"),
    ]


def lasting(situation: Situation, days: float) -> Situation:
    """The situation in which each node's certificate lasts so many days, and an hour that Docker adds before them."""
    begin = datetime.now(UTC) - timedelta(hours=1)
    text = certificate(begin, begin + timedelta(days=days, hours=1))
    found = {name: replace(one, answers={**one.answers, NODE: text}) for name, one in situation.facts.items()}
    return replace(situation, facts=found)


@pytest.mark.parametrize(("days", "changes"), [(None, 0), (90, 0), (30, 1)])
def test_certificates_last_as_long_as_the_inventory_says(tmp_path: Path, days: int | None, changes: int) -> None:
    for situation in (lasting(at_work(tmp_path), 90), bare(tmp_path)):
        wished = replace(situation, cluster=replace(situation.cluster, certificate_days=days))
        planned = [one for one in make_plan(PLANE, wished).changes if one.phase == "authority"]
        assert len(planned) == changes
    made = lasting(at_work(tmp_path), days or 90)
    wished = replace(made, cluster=replace(made.cluster, certificate_days=days))
    assert [one for one in make_plan(PLANE, wished).changes if one.phase == "authority"] == []


@pytest.mark.parametrize("role", ["manager", "worker"])
def test_a_role_is_read_from_a_nodes_certificate(role: str) -> None:
    now = datetime.now(UTC)
    assert validity.role(certificate(now, now + timedelta(days=1), f"swarm-{role}")) == role
    assert validity.role("") == ""


def test_210_several_versions_of_docker_are_told_and_not_refused(tmp_path: Path) -> None:
    situation = at_work(tmp_path)
    assert PLANE.warnings(situation) == ()
    third = situation.facts["node3"]
    newer = replace(third, values={**third.values, "dockerd": "Docker version 28.5.2, build 1"})
    situation = replace(situation, facts={**situation.facts, "node3": newer})
    assert failed(situation) == []
    assert [one.what for one in PLANE.warnings(situation)] == ["Docker 26.1.5 on node1, node2; Docker 28.5.2 on node3"]
