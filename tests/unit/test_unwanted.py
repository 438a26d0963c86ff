"""What the inventory no longer has: networks, keepers, a node's address, the cluster's name. And who would suffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as LocalPath
from typing import Any

import pytest
import swarm_sample
from cluster_sample import answering, changed, lines, network, planned_sample, store_member, with_values
from members_sample import FIVE, at_work, plans
from preflight_sample import failures

from provision.core.situation import LABEL, Situation
from provision.engine import make_plan
from provision.errors import PreflightRefused, Unanswered
from provision.facts import RUN_LABEL, Container, Facts
from provision.phases import network_users
from provision.phases.networks import Networks
from provision.planes.etcd import pki
from provision.planes.etcd.coordinator import EtcdCoordinator
from provision.planes.etcd.local import local, with_identity
from provision.planes.etcd.plane import PLANE
from provision.remote import Login, Remotes
from provision.remote.connection import Gateways
from provision.report.progress import Progress
from provision.resources import KEEPER
from provision.verbs.session import Session


def labelled(name: str, subnet: str, cluster: str, **more: Any) -> dict[str, Any]:
    return network(name, subnet) | {"Labels": {LABEL: cluster}, **more}


def everywhere(situation: Situation, change: Callable[[Facts], Facts]) -> Situation:
    for name in situation.facts:
        situation = changed(situation, name, change)
    return situation


def with_network(situation: Situation, one: dict[str, Any]) -> Situation:
    return everywhere(situation, lambda facts: replace(facts, networks=(*facts.networks, one)))


def with_container(situation: Situation, node: str, *networks: str, stopped: bool = False, **labels: str) -> Situation:
    one = Container("5" * 12, "web", networks, labels=labels)
    kind = "stopped" if stopped else "containers"
    return changed(situation, node, lambda facts: replace(facts, **{kind: (*getattr(facts, kind), one)}))


@pytest.fixture
def situation(tmp_path: LocalPath) -> Situation:
    """A cluster at work that had a network more."""
    there = planned_sample(tmp_path)
    return with_network(there, labelled("more", "10.98.0.0/24", there.cluster.name))


def test_183_a_network_that_the_inventory_no_longer_has_is_removed(situation: Situation) -> None:
    keeper = Container("4" * 12, "overlay-keeper-more-node1", ("more",), labels={KEEPER: "more"})
    situation = changed(situation, "node1", lambda facts: replace(facts, containers=(*facts.containers, keeper)))
    assert failures(situation) == []
    assert lines(make_plan(PLANE, situation).changes) == ["cluster: remove network more"]


def test_183_a_network_is_renamed_with_its_subnet(situation: Situation) -> None:
    old = situation.cluster.networks[0]
    renamed = replace(situation.cluster, networks=(replace(old, name="fresh"),))
    situation = everywhere(
        replace(situation, cluster=renamed),
        lambda facts: replace(
            facts, networks=(labelled(old.name, str(old.subnet or "10.99.0.0/24"), situation.cluster.name),)
        ),
    )
    assert failures(situation) == []
    of_cluster = [line for line in lines(make_plan(PLANE, situation).changes) if "cluster:" in line]
    assert of_cluster == [f"cluster: remove network {old.name}", "cluster: create network fresh"]


@pytest.mark.parametrize("theirs", [{}, {"Labels": None}, {"Labels": {LABEL: "another"}}])
def test_183_a_network_that_we_did_not_make_for_this_cluster_stays(tmp_path: LocalPath, theirs: dict[str, Any]) -> None:
    situation = with_network(planned_sample(tmp_path), network("theirs", "10.98.0.0/24") | theirs)
    assert make_plan(PLANE, situation).changes == ()


def test_183_no_network_is_removed_before_hosts_that_leave_have_left(situation: Situation) -> None:
    phase = Networks(lambda _: False)
    assert lines(phase.cluster_changes(situation)) == ["cluster: remove network more"]
    assert phase.cluster_changes(replace(situation, guests=("192.0.2.9",))) == ()


@pytest.mark.parametrize(("stopped", "told"), [(False, "web"), (True, "web (stopped)")])
def test_182_a_network_that_is_in_use_is_not_removed(situation: Situation, stopped: bool, told: str) -> None:
    (found,) = failures(with_container(situation, "node2", "bridge", "more", stopped=stopped))
    assert (found.check, found.where) == ("network-in-use", "node2")
    assert found.evidence.endswith(f"the inventory does not have it, but is in use by {told}")
    assert found.advice.startswith("name it in the inventory again")


def test_182_every_network_that_hosts_share_counts_at_a_reset(situation: Situation) -> None:
    situation = with_network(situation, network("theirs", "10.96.0.0/24"))
    situation = with_network(situation, network("ingress", "10.0.0.0/24") | {"Ingress": True})
    situation = with_network(situation, network("run", "10.95.0.0/24") | {"Labels": {RUN_LABEL: "1"}})
    shared = network_users.shared(situation)
    assert shared == {*(one.name for one in situation.cluster.networks), "more", "theirs", "run"}
    assert network_users.of_users(situation) == ("theirs",)
    situation = with_container(situation, "node2", "more", "theirs", "bridge", stopped=True)
    situation = with_container(situation, "node1", "more", **{RUN_LABEL: "1"})
    users = {node.name: network_users.users(situation, node, shared) for node in situation.cluster.nodes}
    assert {name: [(one.container, one.network) for one in found] for name, found in users.items() if found} == {
        "node2": [("web", "more"), ("web", "theirs")]
    }


def test_182_a_docker_that_is_slow_with_its_networks_names_them_by_their_keepers(tmp_path: LocalPath) -> None:
    keeper = Container("4" * 12, "overlay-keeper-old-node1", ("old",), labels={KEEPER: "old"})
    situation = everywhere(planned_sample(tmp_path), lambda facts: replace(facts, networks=(), stopped=(keeper,)))
    assert "old" in network_users.shared(situation)


def test_176_a_docker_is_hidden_where_it_is_ours_and_does_not_answer(tmp_path: LocalPath) -> None:
    situation = planned_sample(tmp_path)
    node = situation.cluster.nodes[0]

    def hidden(change: Callable[[Facts], Facts]) -> bool:
        return network_users.are_hidden(changed(situation, node.name, change), node)

    assert not hidden(lambda facts: facts)  # no network of ours was ever there
    worked = with_values(keepers="yes")
    assert hidden(worked)
    assert not hidden(lambda facts: replace(worked(facts), containers_known=True))
    assert not hidden(lambda facts: with_values(dockerd="")(worked(facts)))


def test_181_a_store_that_nobody_can_ask_is_no_empty_store(tmp_path: LocalPath) -> None:
    situation = planned_sample(tmp_path)
    off = everywhere(situation, lambda facts: replace(facts, units={}))
    remotes = Remotes((), Gateways(Login()))
    coordinator = EtcdCoordinator(situation.cluster, remotes, local(situation).identity)
    with pytest.raises(Unanswered, match="etcd runs on no member"):
        coordinator.users_data(off)
    assert coordinator.users_data(everywhere(off, lambda facts: replace(facts, answers={}))) == []


def test_185_the_keeper_of_a_renamed_node_goes(tmp_path: LocalPath) -> None:
    situation = planned_sample(tmp_path)
    old = Container("4" * 12, "overlay-keeper-demo-was", ("demo",), labels={KEEPER: "demo"})
    for kind in ("containers", "stopped"):
        there = changed(
            situation, "node1", lambda facts, kind=kind: replace(facts, **{kind: (*getattr(facts, kind), old)})
        )
        plan = make_plan(PLANE, there)
        assert lines(plan.changes) == ["node1: remove container overlay-keeper-demo-was"]
        assert plan.containers == frozenset()


def moved(folder: LocalPath, number: int, *, keeps: bool = True) -> Situation:
    """The last of some members at work has another address in the inventory. Its host may have the old one as well."""
    before = at_work(folder, *FIVE[:number])
    *others, last = FIVE[:number]
    nodes = (*others, replace(last, address="192.0.2.99"))
    known, url = tuple(map(store_member, FIVE[:number])), f"https://{last.address}:2379"
    there = replace(before, cluster=replace(before.cluster, nodes=nodes))
    there = everywhere(there, answering(members=known))
    addresses = {"192.0.2.99": 1500} | ({last.address: 1500} if keeps else {})
    there = changed(there, last.name, lambda facts: replace(facts, mtus=addresses))
    first = others[0].name
    there = changed(
        there, first, lambda facts: replace(facts, answers={**facts.answers, "healthy": url if keeps else ""})
    )
    return with_identity(there, pki.make(there.cluster))


@pytest.mark.parametrize(("number", "keeps"), [(2, True), (3, True), (3, False)])
def test_186_a_member_whose_address_changes_goes_before_it_joins_anew(
    tmp_path: LocalPath, number: int, keeps: bool
) -> None:
    first, *_ = plans(moved(tmp_path, number, keeps=keeps))
    name = FIVE[number - 1].name
    of_cluster = [line for line in first if "member" in line and line.startswith("cluster")]
    assert of_cluster == [f"cluster: remove member {name}", f"cluster: add member {name}"]
    assert first.index(of_cluster[0]) < first.index(f"{name}: start unit etcd.service")


def test_186_a_member_that_has_lost_its_old_address_is_not_removed_without_a_majority(tmp_path: LocalPath) -> None:
    with pytest.raises(PreflightRefused) as refused:
        plans(moved(tmp_path, 2, keeps=False))
    (problem,) = refused.value.problems
    assert problem.where == "node2"
    assert "the store knows its member at 192.0.2.2, which the host no longer has" in problem.what
    assert "ip address add 192.0.2.2/32" in problem.advice


def test_186_a_host_in_a_swarm_that_has_lost_its_address_is_named(tmp_path: LocalPath) -> None:
    situation = swarm_sample.at_work(tmp_path)

    def failing(*addresses: str) -> list[tuple[str, str]]:
        there = changed(
            situation,
            "node2",
            lambda facts: replace(facts, answers={"swarm-address": "192.0.2.2\n"}, mtus=dict.fromkeys(addresses, 1500)),
        )
        return swarm_sample.failed(there)

    assert failing("192.0.2.2", "192.0.2.9") == []
    assert failing("192.0.2.9") == [("swarm-address", "node2")]


def test_187_a_host_of_a_cluster_with_another_name_is_refused_with_the_way_back(tmp_path: LocalPath) -> None:
    found = planned_sample(tmp_path).facts
    name = planned_sample(tmp_path).cluster.name
    assert {facts.cluster for facts in found.values()} == {name}
    assert Facts().cluster == ""
    text = "version: 1\ncluster: {}\nnodes:\n  a: {{address: 192.0.2.1}}\n  b: {{address: 192.0.2.2}}\n"
    text += "etcd: {{source: none.tar.gz}}\noverlay: {{networks: {{demo: {{subnet: 10.99.0.0/24}}}}}}\n"
    for cluster in (name, "other"):
        path = tmp_path / f"{cluster}.yml"
        path.write_text(text.format(cluster))
        session = Session(path, Login(), Progress(live=False))
        if cluster == name:
            session.refuse_another_cluster(found)
            continue
        with pytest.raises(PreflightRefused) as refused:
            session.refuse_another_cluster(found)
        assert {one.where for one in refused.value.problems} == set(found)
        assert f"write `cluster: {name}` again" in refused.value.problems[0].advice
