"""Swarm mode: what is read of it, planned, refused and shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pki_sample import node, sample

from provision.checks import node_view
from provision.checks.node_view import NodeView
from provision.checks.preflight import network
from provision.core.outcome import failures
from provision.core.situation import Situation
from provision.engine import make_plan, question
from provision.errors import PreflightRefused
from provision.facts import Facts, Listener, PathFact, Unit
from provision.inventory.model import Node
from provision.network.port_matrix import wanted
from provision.planes.swarm import paths, view
from provision.planes.swarm.plane import PLANE
from provision.planes.swarm.status import status
from provision.resources import File
from provision.verbs.status import ports

NODES = (node("node1", "192.0.2.1"), node("node2", "192.0.2.2"), replace(node("node3", "192.0.2.3"), member=False))


def listed(one: Node, *, leader: bool = False, ready: bool = True, role: str = "") -> dict[str, Any]:
    """A node as Docker's managers list it."""
    manager = {"Reachability": "reachable", "Addr": f"{one.address}:2377"} | ({"Leader": True} if leader else {})
    role = role or ("manager" if one.member else "worker")
    return {
        "ID": f"id-{one.name}",
        "Spec": {"Role": role},
        "Description": {"Hostname": one.name, "Engine": {"EngineVersion": "26.1.5"}},
        "Status": {"State": "ready" if ready else "down", "Addr": one.address},
        **({"ManagerStatus": manager} if role == "manager" else {}),
    }


def own(one: Node, state: str = "active", *, manager: bool | None = None, error: str = "") -> dict[str, Any]:
    """A daemon's own words."""
    swarm = {"LocalNodeState": state, "NodeID": f"id-{one.name}" if state == "active" else "", "Error": error}
    return {"Swarm": {**swarm, "NodeAddr": one.address, "ControlAvailable": one.member if manager is None else manager}}


def facts(docker: dict[str, Any]) -> Facts:
    values = {"dockerd": "Docker version 26.1.5, build 1", "docker-cli": "yes"}
    return Facts(values=values, docker_answers=True, docker=docker, units={"docker.service": Unit("active")})


def bare(folder: Path) -> Situation:
    """Hosts with Docker, in no swarm."""
    cluster = replace(sample(folder), nodes=NODES, control_plane="swarm")
    return Situation(cluster, facts={one.name: facts({view.INFO: own(one, "inactive")}) for one in NODES})


def at_work(folder: Path, **changed: dict[str, Any]) -> Situation:
    """The three in one swarm; `changed`: other entries of the managers' list."""
    entries = [changed.get(one.name, listed(one, leader=one is NODES[0])) for one in NODES]
    answers = {one.name: {view.INFO: own(one)} | ({view.NODES: entries} if one.member else {}) for one in NODES}
    situation = bare(folder)
    return replace(situation, recorded=True, facts={one.name: facts(answers[one.name]) for one in NODES})


def of_cluster(situation: Situation) -> list[str]:
    plan = make_plan(PLANE, situation)
    return [f"{one.action} {one.resource}: {one.note}" for one in plan.changes if one.phase == "swarm"]


def failed(situation: Situation) -> list[tuple[str, str]]:
    outcomes = node_view.run(PLANE, situation, PLANE.checks())
    return [(one.check, one.where) for one in failures(outcomes)]


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


def test_nodes_are_told_apart_by_their_ids_and_never_by_hostname(tmp_path: Path) -> None:
    situation = at_work(tmp_path, node2=listed(replace(NODES[1], name="node2-of-old")))
    assert view.found(situation, NODES[1]) is None
    assert [one.identity for one in view.unknown(situation)] == ["id-node2-of-old"]
    assert "is in the swarm, and not in the inventory" in PLANE.warnings(situation)[0].what


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
    assert status(situation).summary.startswith("0 of 2 managers healthy; no quorum (needs 2)")


def test_status_shows_each_nodes_role_and_what_may_still_be_lost(tmp_path: Path) -> None:
    shown = status(at_work(tmp_path))
    assert [row[0::2] for row in shown.tables[0].rows] == [
        ("node1", "leader"),
        ("node2", "manager"),
        ("node3", "worker"),
    ]
    assert (shown.summary, shown.is_well) == ("2 of 2 managers healthy; the swarm takes changes", True)
    down = status(at_work(tmp_path, node3=listed(NODES[2], ready=False)))
    assert (down.tables[0].rows[2][3], down.is_well) == ("no answer", False)


def test_a_host_that_is_to_leave_is_refused_as_long_as_this_mode_cannot(tmp_path: Path) -> None:
    situation = bare(tmp_path)
    with pytest.raises(PreflightRefused, match="not there yet in swarm mode"):
        make_plan(PLANE, replace(situation, cluster=replace(situation.cluster, absent=(NODES[2],))))


def encrypted(situation: Situation, docker: str = "26.1.5", kernel: str = "yes") -> Situation:
    """The situation with an encrypted network, and another Docker or kernel on node2."""
    networks = tuple(replace(one, encrypted=True) for one in situation.cluster.networks)
    able = {name: replace(one, answers={"encryption": "yes"}) for name, one in situation.facts.items()}
    values = {**able["node2"].values, "dockerd": f"Docker version {docker}, build 1"}
    able["node2"] = replace(able["node2"], values=values, answers={"encryption": kernel} if kernel else {})
    return replace(situation, cluster=replace(situation.cluster, networks=networks), facts=able)


@pytest.mark.parametrize("docker", ["20.10.24+dfsg1", "23.0.3", "24.0.0", "26.1.5", "28.5.2"])
def test_encrypted_networks_with_a_docker_that_encrypts_them(tmp_path: Path, docker: str) -> None:
    assert failed(encrypted(bare(tmp_path), docker)) == []


@pytest.mark.parametrize("docker", ["20.10.5+dfsg1", "20.10.23", "23.0.0", "23.0.2"])
def test_a_docker_that_sends_encrypted_networks_in_clear_text_is_refused(tmp_path: Path, docker: str) -> None:
    assert failed(encrypted(bare(tmp_path), docker)) == [("docker-encrypts", "node2")]
    values = {**bare(tmp_path).facts["node2"].values, "dockerd": f"Docker version {docker}, build 1"}
    plain = replace(bare(tmp_path).facts["node2"], values=values)
    assert failed(replace(bare(tmp_path), facts={**bare(tmp_path).facts, "node2": plain})) == []


def test_a_kernel_without_ipsec_is_refused_and_asked_only_for_an_encrypted_network(tmp_path: Path) -> None:
    assert failed(encrypted(bare(tmp_path), kernel="")) == [("kernel-encrypts", "node2")]
    for situation, asked in ((bare(tmp_path), False), (encrypted(bare(tmp_path)), True)):
        assert ("fact_encryption" in PLANE.question(situation, NODES[0]).calls) == asked


def test_the_firewall_keeps_others_from_ipsec_where_a_network_is_encrypted(tmp_path: Path) -> None:
    for situation, shut in ((bare(tmp_path), False), (encrypted(bare(tmp_path)), True)):
        situation = replace(situation, cluster=replace(situation.cluster, firewall=True))
        (firewall,) = (phase for phase in PLANE.phases if phase.name == "firewall")
        held = firewall.resources(situation, NODES[0])
        texts = [(one.content or b"").decode() for one in held if isinstance(one, File)]
        assert ("\n        ip protocol esp counter drop\n    }" in texts[0]) == shut
        assert ("50/esp" in [row[0] for row in ports(situation, PLANE.ports_of(situation.cluster)).rows]) == shut


def test_ipsec_has_no_port_that_could_be_tried_or_taken(tmp_path: Path) -> None:
    situation = encrypted(bare(tmp_path))
    assert 50 not in question(PLANE, situation, NODES[0]).ports
    assert 50 not in {cell.port for cell in wanted(situation.cluster, PLANE.ports_of(situation.cluster))}


def without_ingress(situation: Situation, *found: dict[str, Any]) -> Situation:
    """The situation without a wish for the network ingress, and the networks that node1's Docker has."""
    there = replace(situation.facts["node1"], networks=found)
    cluster = replace(situation.cluster, ingress=False)
    return replace(situation, cluster=cluster, facts={**situation.facts, "node1": there})


def test_a_swarm_that_is_to_have_no_ingress_is_made_without(tmp_path: Path) -> None:
    plan = of_cluster(without_ingress(bare(tmp_path)))
    assert plan[0] == "create swarm: node1 manages it; without the network ingress"
    assert [line for line in plan if "network" in line] == plan[:1]


def test_an_ingress_that_is_not_wanted_is_removed(tmp_path: Path) -> None:
    ingress = {"Name": "ingress", "Scope": "swarm", "Driver": "overlay", "Ingress": True}
    demo = {"Name": "demo", "Scope": "swarm", "Driver": "overlay", "Ingress": False}
    assert of_cluster(without_ingress(at_work(tmp_path), ingress, demo)) == ["remove network ingress: "]
    assert of_cluster(without_ingress(at_work(tmp_path), demo)) == []
    kept = without_ingress(at_work(tmp_path), ingress)
    assert of_cluster(replace(kept, cluster=replace(kept.cluster, ingress=True))) == []


def on_port(situation: Situation, wanted: int, found: int | None = None) -> Situation:
    """The situation in which the inventory wants a port for VXLAN, and the first manager names the swarm's."""
    told = situation.facts["node1"].docker[view.INFO]["Swarm"]
    info = {"Swarm": {**told, "Cluster": {"DataPathPort": found}}} if found else {"Swarm": told}
    there = replace(situation.facts["node1"], docker={**situation.facts["node1"].docker, view.INFO: info})
    cluster = replace(situation.cluster, vxlan_port=wanted)
    return replace(situation, cluster=cluster, facts={**situation.facts, "node1": there})


def test_another_port_for_vxlan_is_asked_for_tried_and_guarded(tmp_path: Path) -> None:
    situation = on_port(bare(tmp_path), 4799)
    asked = question(PLANE, situation, NODES[0]).ports
    assert (4799 in asked, 4789 in asked) == (True, False)
    tried = {
        cell.port for cell in wanted(situation.cluster, PLANE.ports_of(situation.cluster)) if cell.protocol == "udp"
    }
    assert tried == {4799, 7946}
    (firewall,) = (phase for phase in PLANE.phases if phase.name == "firewall")
    situation = replace(situation, cluster=replace(situation.cluster, firewall=True))
    texts = [one.content or b"" for one in firewall.resources(situation, NODES[0]) if isinstance(one, File)]
    assert b"udp dport { 4799, 7946 } counter drop" in texts[0]
    assert "4799/udp" in [row[0] for row in ports(situation, PLANE.ports_of(situation.cluster)).rows]


def test_the_kernels_socket_at_that_port_is_ours(tmp_path: Path) -> None:
    taken = (Listener("udp", "0.0.0.0", 4799, "unknown"),)
    for situation, words in ((at_work(tmp_path), []), (bare(tmp_path), ["port 4799/udp is taken by unknown"])):
        there = replace(situation.facts["node2"], listeners=taken)
        situation = on_port(replace(situation, facts={**situation.facts, "node2": there}), 4799)
        assert [one.evidence for one in network.ports(NodeView(PLANE, situation, NODES[1]))] == words


def test_a_swarm_keeps_its_port_for_vxlan(tmp_path: Path) -> None:
    assert of_cluster(on_port(at_work(tmp_path), 4799, 4799)) == []
    assert of_cluster(on_port(at_work(tmp_path), 4789, 4789)) == []
    with pytest.raises(PreflightRefused, match="vxlan_port is 4799, but the swarm was made with 4789"):
        make_plan(PLANE, on_port(at_work(tmp_path), 4799, 4789))
