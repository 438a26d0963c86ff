"""Swarm mode's networks: encrypted, without ingress, with another port for VXLAN."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from swarm_sample import NODES, at_work, bare, failed, of_cluster

from provision.checks.node_view import NodeView
from provision.checks.preflight import network
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import Listener
from provision.gathering import question
from provision.network.port_matrix import wanted
from provision.planes.swarm import view
from provision.planes.swarm.plane import PLANE
from provision.resources import File
from provision.verbs.status import ports


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
