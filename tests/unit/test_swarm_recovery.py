"""A swarm without a quorum or without a manager, and hosts that were given up: what is seen, and what is planned."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import swarm_sample
from swarm_sample import NODES, at_work, failed, own, without

from provision import engine, layout
from provision.core.recovery import LostHost, Recovery
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused
from provision.facts import Facts, Listener, PathFact, Unit
from provision.planes.swarm import paths, recovery, view
from provision.planes.swarm.plane import PLANE
from provision.recovery import generations, outlook

FIRST, SECOND, THIRD = NODES
LEADERLESS = "rpc error: code = Unknown desc = The swarm does not have a leader."
DEMO = {
    "Name": "demo",
    "Id": "icq4cv4xitbyoz7bevmfa7iq9",
    "Scope": "swarm",
    "Driver": "overlay",
    "IPAM": {"Config": [{"Subnet": "10.99.0.0/24", "Gateway": "10.99.0.1"}]},
    "Options": {"com.docker.network.driver.overlay.vxlanid_list": "4097", "encrypted": ""},
    "Labels": {"overlay-provision.cluster": "demo"},
}
SHOWN = PathFact("regular file", 0o600, "root:root", text="1f 2026-11-27T15:00:00Z lost: node2 192.0.2.2\n")


def put(situation: Situation, name: str, **changed: Any) -> Situation:
    """The situation with other facts of a node."""
    return replace(situation, facts={**situation.facts, name: replace(situation.facts[name], **changed)})


def recorded(networks: PathFact, held: str = "") -> dict[str, PathFact]:
    """The record of a node's networks, which is held."""
    return {paths.NETWORKS: networks, layout.HELD: PathFact("regular file", 0o600, "root:root", text=held)}


def survivor(folder: Path, name: str) -> Situation:
    """Only this node answers: without a quorum."""
    situation = at_work(folder)
    node = situation.cluster.node(name)
    info = own(node, error=LEADERLESS)
    info["Swarm"]["RemoteManagers"] = [{"Addr": f"{one.address}:2377"} for one in NODES if one.member]
    facts = replace(situation.facts[name], docker={view.INFO: info}, networks=(DEMO,), values={"swarm": "yes"})
    cluster = replace(situation.cluster, nodes=(node,))
    return replace(situation, cluster=cluster, facts={name: facts})


def changes(situation: Situation, keep: str) -> list[str]:
    lost = tuple(LostHost(one.name, one.address) for one in NODES if one.name not in situation.facts)
    decided = Recovery(situation.cluster.node(keep), lost, identity="1f")
    return [f"{one.phase}: {one.action} {one.resource}" for one in make_plan(PLANE.recovering(decided), situation)]


def away(folder: Path, **info: Any) -> Situation:
    """The second node is back, and the managers have struck it off."""
    situation = without(at_work(folder), SECOND.name)
    said = {"Swarm": {**own(SECOND, "pending", error=LEADERLESS)["Swarm"], "NodeID": "id-node2", **info}}
    there = PathFact("regular file", 0o600, "root:root")
    values = {**situation.facts[SECOND.name].values, "swarm": "yes"}
    return put(situation, SECOND.name, docker={view.INFO: said}, paths={paths.PEERS: there}, values=values)


def test_286_a_manager_without_a_quorum_has_the_swarms_data(tmp_path: Path) -> None:
    (one,) = PLANE.standings(survivor(tmp_path, "node1"))
    assert (one.holds_data, one.has_quorum, one.members) == (True, False, ("192.0.2.1", "192.0.2.2"))
    assert one.networks == {"demo"}
    assert [one.has_quorum for one in PLANE.standings(at_work(tmp_path))] == [True, True, False]
    assert [one.holds_data for one in PLANE.standings(at_work(tmp_path))] == [True, True, False]


def test_290_a_worker_without_a_manager_has_what_is_left(tmp_path: Path) -> None:
    (one,) = PLANE.standings(survivor(tmp_path, "node3"))
    assert (one.holds_data, one.members) == (True, ("192.0.2.1", "192.0.2.2"))


def test_290_a_worker_that_was_rebooted_has_what_is_left_of_its_swarm(tmp_path: Path) -> None:
    """Without its managers it is `pending`; where a manager answers, it holds nothing."""
    pending = put(survivor(tmp_path, "node3"), "node3", docker={view.INFO: own(THIRD, "pending", error=LEADERLESS)})
    assert [one.holds_data for one in PLANE.standings(pending)] == [True]
    assert [one.holds_data for one in PLANE.standings(put(pending, "node3", values={}))] == [False]
    managed = put(at_work(tmp_path), "node3", docker={view.INFO: own(THIRD, "pending")})
    assert [one.holds_data for one in PLANE.standings(managed)] == [True, True, False]


def test_339_a_manager_that_was_given_up_does_not_stand_before_the_workers_that_are_left(tmp_path: Path) -> None:
    """A worker went on without it, and that one is lost now, too."""
    begin = datetime.now(UTC)
    certificate = swarm_sample.certificate(begin, begin + timedelta(days=90), "swarm-manager", "id-node1")
    both = {**survivor(tmp_path, "node1").facts, **survivor(tmp_path, "node3").facts}
    peers = PathFact("regular file", 0o600, "root:root")
    there = replace(at_work(tmp_path), facts=both)
    there = put(there, "node1", answers={"swarm-node": certificate}, paths={paths.PEERS: peers})
    there = put(there, "node3", paths={paths.PEERS: peers, layout.RECOVERIES: SHOWN})
    present = generations.of_those_present(PLANE, there)
    assert {one.node.name: one.holds_data for one in PLANE.standings(present)} == {"node1": True, "node3": True}
    returned = dict.fromkeys(generations.returned(PLANE, present), "")
    found = outlook.outlook(present.cluster, PLANE.standings(present), returned)
    assert (outlook.chosen(found, ""), outlook.chosen(found, "node1")) == (THIRD, FIRST)


def test_341_a_node_that_joins_has_the_list_of_recoveries_before(tmp_path: Path) -> None:
    there = put(at_work(tmp_path), "node1", paths={layout.RECOVERIES: SHOWN})
    there = put(without(there, "node3"), "node3", docker={view.INFO: own(THIRD, "inactive")})
    mine = [f"{one.where}: {one.action} {one.resource}" for one in make_plan(PLANE, there)]
    listed = f"node3: create file {layout.RECOVERIES}"
    assert mine.index(listed) < mine.index("cluster: add node3 in the swarm")


def test_286_a_manager_rules_alone_and_every_container_is_connected_again(tmp_path: Path) -> None:
    assert changes(survivor(tmp_path, "node1"), "node1") == [
        "hold: hold the record of containers",
        "swarm: replace swarm",
        "reattach: add its containers on their networks",
    ]


def test_290_a_worker_begins_another_swarm_with_the_same_networks(tmp_path: Path) -> None:
    there = survivor(tmp_path, "node3")
    assert changes(there, "node3") == [
        "hold: hold the record of containers",
        "others: remove its former swarm",
        "swarm: create swarm",
        "same-networks: create network demo",
        "reattach: add its containers on their networks",
    ]
    (network,) = recovery.networks(there, Recovery(there.cluster.nodes[0], ()))
    assert dict(network.options) == {"encrypted": ""}
    assert dict(network.labels) == DEMO["Labels"]


def test_290_a_worker_that_has_left_knows_its_networks_by_its_record(tmp_path: Path) -> None:
    there = survivor(tmp_path, "node3")
    text = json.dumps([DEMO, {**DEMO, "Name": "ingress", "Ingress": True}])
    record = PathFact("regular file", 0o600, "root:root", text=text)
    left = put(there, "node3", networks=(), docker={view.INFO: own(THIRD, "inactive")}, paths=recorded(record))
    assert [one.name for one in recovery.networks(left, Recovery(THIRD, ()))] == ["demo"]
    # As long as its containers are on their networks, Docker knows better than a record that may be days old.
    assert recovery.networks(put(left, "node3", paths=recorded(record, "attached\n")), Recovery(THIRD, ())) == ()
    assert recovery.networks(put(left, "node3", paths={paths.NETWORKS: record}), Recovery(THIRD, ())) == ()


def of_others(networks: tuple[dict[str, Any], ...], subnet: str = "10.99.0.0/24") -> PathFact:
    """A record of networks: `demo` with this subnet, and others."""
    demo = {**DEMO, "IPAM": {"Config": [{"Subnet": subnet}]}}
    return PathFact("regular file", 0o600, "root:root", text=json.dumps([demo, *networks]))


THEIRS = {**DEMO, "Name": "theirs"}


def two_workers(folder: Path, state: str) -> Situation:
    """Two nodes that were workers are left: the second has its record, and its daemon is in this state."""
    there = put(without(at_work(folder), "node1"), "node3", networks=())
    there = put(there, "node3", docker={view.INFO: own(THIRD, "inactive")}, paths=recorded(of_others(())))
    info = {view.INFO: own(SECOND, state)}
    return put(there, "node2", networks=(), docker=info, paths=recorded(of_others((THEIRS,), "10.55.0.0/24")))


def subnets(there: Situation, decided: Recovery) -> dict[str, str]:
    return {one.name: str(one.pools[0].subnet) for one in recovery.networks(there, decided)}


def test_358_when_all_workers_have_left_the_networks_of_each_are_known_by_its_record(tmp_path: Path) -> None:
    left, decided = two_workers(tmp_path, "inactive"), Recovery(THIRD, (), others=(SECOND,))
    assert subnets(left, decided) == {"demo": "10.99.0.0/24", "theirs": "10.99.0.0/24"}


def test_358_the_record_of_another_node_does_not_count_before_what_a_daemon_tells(tmp_path: Path) -> None:
    left, decided = two_workers(tmp_path, "inactive"), Recovery(THIRD, (), others=(SECOND,))
    live = put(left, "node3", networks=(DEMO,), docker={view.INFO: own(THIRD)}, paths={})
    assert subnets(live, decided) == {"demo": "10.99.0.0/24", "theirs": "10.99.0.0/24"}
    # It is of another day where its daemon was only started without its managers.
    assert subnets(put(live, "node2", docker={view.INFO: own(SECOND, "pending")}), decided) == {"demo": "10.99.0.0/24"}


def test_358_the_record_of_a_node_that_does_not_leave_in_this_recovery_does_not_count(tmp_path: Path) -> None:
    left = two_workers(tmp_path, "inactive")
    of_another_cluster = Recovery(THIRD, (), others=(SECOND,), apart=(SECOND,))
    for decided in (Recovery(THIRD, ()), of_another_cluster):
        assert subnets(left, decided) == {"demo": "10.99.0.0/24"}


def test_349_no_swarm_begins_anew_while_docker_does_not_list_the_networks_of_the_former_one(tmp_path: Path) -> None:
    """Also where a record of another day is there. A node that has left has nothing but its record."""
    there = survivor(tmp_path, "node3")
    silent = put(there, "node3", networks=(), docker={}, docker_answers=False)
    record = PathFact("regular file", 0o600, "root:root", text=json.dumps([DEMO]))
    unreadable = recorded(replace(record, text=None))
    for paths_there in ({}, recorded(record, "attached\n"), {paths.NETWORKS: record}, unreadable):
        with pytest.raises(PreflightRefused) as refused:
            changes(put(silent, "node3", paths=paths_there), "node3")
        (problem,) = refused.value.problems
        assert (problem.where, "docker network ls" in problem.advice) == ("node3", True)
    assert "same-networks: create network demo" in changes(put(silent, "node3", paths=recorded(record)), "node3")
    # A manager without a quorum answers late, and keeps its swarm's networks.
    manager = put(survivor(tmp_path, "node1"), "node1", networks=(), docker_answers=False)
    assert "swarm: replace swarm" in changes(manager, "node1")


def test_356_a_worker_that_was_started_without_its_managers_has_the_networks_that_were_recorded(tmp_path: Path) -> None:
    there = survivor(tmp_path, "node3")
    node3 = there.cluster.node("node3")
    record = PathFact("regular file", 0o600, "root:root", text=json.dumps([DEMO]))
    pending = put(
        there, "node3", networks=(), docker={view.INFO: own(node3, "pending")}, paths={paths.NETWORKS: record}
    )
    assert "same-networks: create network demo" in changes(pending, "node3")
    active = put(pending, "node3", docker=there.facts["node3"].docker)
    assert "same-networks: create network demo" not in changes(active, "node3"), "its user has removed it"


def test_349_only_nodes_that_leave_for_another_swarm_have_to_list_their_networks(tmp_path: Path) -> None:
    def scripts(name: str) -> list[str]:
        there = survivor(tmp_path, name)
        plane = PLANE.recovering(Recovery(there.cluster.node(name), (), identity="1f"))
        return [str(step.resource.apply(step.difference)) for step in engine.steps(plane, there)]

    assert "\nhold_networks ||" in scripts("node3")[0]
    assert "\nhold_containers ||" in scripts("node1")[0]
    assert "\nhold_networks ||" not in "".join(scripts("node1"))


def test_287_the_containers_of_a_lost_host_are_those_that_the_others_know(tmp_path: Path) -> None:
    text = "web 192.0.2.2\noverlay-keeper-demo-node2 192.0.2.2\nweb 192.0.2.1\ndb 192.0.2.2\n"
    there = put(survivor(tmp_path, "node1"), "node1", answers={recovery.TASKS: text})
    assert PLANE.lost_containers(there, "192.0.2.2") == ("db", "web")
    assert list(PLANE.follow_up(there)) == ["node1"]
    assert PLANE.follow_up(at_work(tmp_path)) == {}


def test_293_a_host_that_was_struck_off_while_it_was_away_joins_anew_with_consent(tmp_path: Path) -> None:
    there = away(tmp_path)
    (problem,) = [one for one in PLANE.warnings(there) if one.where == "node2"]
    assert "struck off" in problem.what
    assert paths.FORMER in problem.advice
    assert failed(there) == []
    plan = make_plan(PLANE, there)
    mine = [one for one in plan if one.phase in ("former-swarm", "swarm", "come-back")]
    assert [(one.phase, one.action) for one in mine] == [
        ("former-swarm", "remove"),
        ("swarm", "add"),
        ("come-back", "add"),
    ]
    assert [one for one in plan.consents if "given up" in one and one.endswith("on node2")]


def test_293_it_is_recognised_by_its_certificate_while_its_docker_does_not_answer(tmp_path: Path) -> None:
    begin = datetime.now(UTC)
    certificate = swarm_sample.certificate(begin, begin + timedelta(days=90), "swarm-manager", "id-node2")
    there = put(away(tmp_path), "node2", docker={}, docker_answers=False, answers={"swarm-node": certificate})
    assert recovery.was_given_up(there, SECOND)
    manager = Listener("tcp", "192.0.2.2", 2377, 'users:(("dockerd",pid=109,fd=7))', layout.DOCKER_UNIT)
    units = {layout.DOCKER_UNIT: Unit("active", process=109)}
    assert failed(put(there, "node2", listeners=(manager,), units=units)) == []


def test_293_it_is_asked_for_consent_though_it_has_left_its_swarm_by_itself(tmp_path: Path) -> None:
    held = PathFact("regular file", 0o600, "root:root")
    there = put(at_work(tmp_path), "node1", paths={paths.PEERS: held, layout.RECOVERIES: SHOWN})
    there = put(
        there, "node2", docker={view.INFO: own(SECOND, "inactive")}, paths={paths.PEERS: held, layout.HELD: held}
    )
    assert generations.returned(PLANE, there)[0] == "node2"
    there = generations.of_those_present(PLANE, there)
    assert recovery.was_given_up(there, SECOND)
    known = {paths.PEERS: held, layout.HELD: held, layout.RECOVERIES: SHOWN}
    assert not recovery.was_given_up(put(there, "node2", paths=known), SECOND)


def test_293_provision_restarts_a_docker_that_has_left_its_swarm_by_itself_and_keeps_its_gossip(tmp_path: Path) -> None:
    held = PathFact("regular file", 0o600, "root:root")
    gossip = Listener("tcp", "*", layout.GOSSIP_PORT, 'users:(("dockerd",pid=109,fd=7))', layout.DOCKER_UNIT)
    there = put(
        at_work(tmp_path),
        "node2",
        docker={view.INFO: own(SECOND, "inactive")},
        paths={paths.PEERS: held, layout.HELD: held},
        units={layout.DOCKER_UNIT: Unit("active", process=109)},
        listeners=(gossip,),
        values={**at_work(tmp_path).facts["node2"].values, "swarm": ""},
    )
    port = next(one for one in PLANE.ports if one.number == layout.GOSSIP_PORT)
    assert port.is_ours(there.facts["node2"])
    mine = [str(one.resource) for one in make_plan(PLANE, there) if one.phase == "former-swarm"]
    assert mine == ["the gossip of its former swarm"]
    assert not [one for one in make_plan(PLANE, put(there, "node2", listeners=())) if one.phase == "former-swarm"]


def test_293_a_host_without_data_of_a_swarm_or_in_the_list_was_not_given_up(tmp_path: Path) -> None:
    there = away(tmp_path)
    assert not recovery.was_given_up(put(there, "node2", values={}), SECOND)
    assert not recovery.was_given_up(put(there, "node2", paths={}), SECOND)
    assert not recovery.was_given_up(away(tmp_path, NodeID="id-node1"), SECOND)
    assert not any(recovery.was_given_up(at_work(tmp_path), one) for one in NODES)


def test_296_containers_of_a_host_that_has_left_come_back_but_not_in_a_migration(tmp_path: Path) -> None:
    def phases(situation: Situation) -> list[str]:
        return [one.phase for one in make_plan(PLANE, situation) if one.where == "node2"]

    held = PathFact("regular file", 0o600, "root:root")
    there = put(at_work(tmp_path), "node2", paths={layout.HELD: held})
    values = there.facts["node2"].values
    assert "come-back" in phases(there)
    assert "come-back" not in phases(put(there, "node2", values={**values, "migration": "yes"}))
    assert "come-back" not in phases(at_work(tmp_path))


def test_295_two_that_rule_beside_the_others_have_no_say(tmp_path: Path) -> None:
    """Their own list calls the node that went on alone unreachable."""
    there = at_work(tmp_path)
    rivals = {**there.facts["node1"].docker, view.NODES: [swarm_sample.listed(SECOND, leader=True)]}
    values = {**there.facts["node1"].values, "swarm": "yes"}
    peers = PathFact("regular file", 0o600, "root:root")
    alone = [swarm_sample.listed(THIRD, leader=True, role="manager")]
    found: dict[str, Facts] = {
        "node1": replace(there.facts["node1"], docker=rivals, values=values, paths={paths.PEERS: peers}),
        "node2": replace(there.facts["node2"], docker=rivals, values=values, paths={paths.PEERS: peers}),
        "node3": replace(
            there.facts["node3"],
            docker={view.INFO: own(THIRD, manager=True), view.NODES: alone},
            values=values,
            paths={paths.PEERS: peers, layout.RECOVERIES: SHOWN},
        ),
    }
    begin = datetime.now(UTC)
    for one in (FIRST, SECOND):
        certificate = swarm_sample.certificate(begin, begin + timedelta(days=90), "swarm-manager", f"id-{one.name}")
        found[one.name] = replace(found[one.name], answers={"swarm-node": certificate})
    divided = replace(there, facts=found)
    assert generations.returned(PLANE, divided) == ("node1", "node2")
    present = generations.of_those_present(PLANE, divided)
    assert [one.identity for one in view.listed(present)] == ["id-node3"]
    assert [one.name for one in NODES if recovery.was_given_up(present, one)] == ["node1", "node2"]
