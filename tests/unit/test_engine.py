"""Facts in, changes out: what is planned from any state, and the script that carries it out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from cluster_sample import (
    answering,
    bare_situation,
    changed,
    lines,
    planned,
    planned_sample,
    sees,
    with_path,
    with_unit,
    with_values,
    without_path,
)
from pki_sample import node, sample

from provision import gathering, layout
from provision.core.situation import Situation
from provision.engine import make_plan, node_script, steps
from provision.errors import PreflightRefused
from provision.facts import Container, Facts
from provision.inventory.model import Network
from provision.node import library
from provision.planes.etcd import paths, pki
from provision.planes.etcd.local import with_identity
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.plane import PLANE
from provision.recovery import generations
from provision.resources import NoRuleset

Change = Callable[[Facts], Facts]
NODES = ("node1", "node2", "node3")


def plan_of(situation: Situation) -> list[str]:
    return lines(make_plan(PLANE, situation))


def restarted_on_other(unit: str, path: str) -> Change:
    """The process was started, by whomever, when the file was another."""

    def change(facts: Facts) -> Facts:
        return with_unit(unit, inputs={**facts.unit(unit).inputs, path: "0" * 64})(facts)

    return change


def both(*changes: Change) -> Change:
    def change(facts: Facts) -> Facts:
        for one in changes:
            facts = one(facts)
        return facts

    return change


def test_hosts_that_are_as_planned_have_nothing_to_change(tmp_path: Path) -> None:
    assert plan_of(planned_sample(tmp_path)) == []


def test_bare_hosts_get_everything_in_the_order_in_which_it_is_made(tmp_path: Path) -> None:
    plan = make_plan(PLANE, bare_situation(sample(tmp_path)))
    assert list(dict.fromkeys(change.phase for change in plan)) == [
        "host",
        "pki",
        "etcd",
        "docker",
        "overlay",
        "keeper",
    ]
    assert lines(plan.of("node1", "etcd")) == [
        "node1: create file /etc/etcd/etcd.env",
        "node1: create file /etc/etcd/bootstrap.env",
        "node1: create file /usr/local/lib/etcd/before-start",
        "node1: create file /etc/systemd/system/etcd.service",
        "node1: start unit etcd.service",
    ]
    assert lines(plan.of("node1", "docker")) == [
        "node1: create folder /etc/docker",
        "node1: create folder /etc/docker/overlay",
        "node1: create file /etc/docker/overlay/ca.crt",
        "node1: create file /etc/docker/overlay/server.crt",
        "node1: create file /etc/docker/overlay/server.key",
        "node1: create file /etc/docker/overlay/store-ca.crt",
        "node1: create file /etc/docker/overlay/store.crt",
        "node1: create file /etc/docker/overlay/store.key",
        "node1: create folder /etc/systemd/system/docker.service.d",
        "node1: create folder /usr/local/lib/overlay-provision",
        "node1: create file /etc/docker/overlay/store.env",
        "node1: create file /etc/docker/overlay/hardening",
        "node1: create file /usr/local/lib/overlay-provision/docker-store",
        "node1: create file /etc/systemd/system/overlay-join.service",
        "node1: create file /usr/local/lib/overlay-provision/mend",
        "node1: create file /etc/systemd/system/overlay-mend.service",
        "node1: create file /etc/systemd/system/docker.service.d/50-overlay.conf",
        "node1: restart unit docker.service",
        "node1: start unit overlay-join.service",
        "node1: start unit overlay-mend.service",
        "node1: create network docker_gwbridge",
    ]
    assert lines(plan.of("cluster", "overlay")) == ["cluster: create network demo"]
    assert lines(plan)[-3:] == [f"{name}: create container overlay-keeper-demo-{name}" for name in NODES]


def test_every_resource_of_a_bare_host_is_made(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    made = {(step.node.name, step.resource.name) for step in steps(PLANE, situation)}
    held = {
        (node.name, resource.name)
        for node in situation.cluster.nodes
        for phase in PLANE.phases
        for resource in phase.resources(situation, node)
        if not isinstance(resource, NoRuleset)
    }
    assert made == held


def test_a_node_that_is_no_member_gets_the_release_and_no_store(tmp_path: Path) -> None:
    plan = make_plan(PLANE, bare_situation(sample(tmp_path)))
    assert plan.of("node3", "etcd") == ()
    assert "node3: create link /usr/local/bin/etcdctl" in lines(plan.of("node3", "host"))
    assert not [line for line in lines(plan) if line.startswith("node3") and ("/etc/etcd" in line or "user" in line)]


def test_certificates_not_made_yet_are_planned_and_shown_as_new(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    unmade = make_plan(PLANE, bare_situation(cluster, Identity.read(cluster)))
    assert {change.action for change in unmade.of("controller", "pki")} == {"create"}
    assert "controller: create leaf etcd-peer/node1-peer" in lines(unmade)
    made = make_plan(PLANE, bare_situation(cluster, pki.make(cluster)))
    on_nodes = [replace(change, note="") for change in unmade if change.where != "controller"]
    # Only the hashes cannot be told before.
    assert on_nodes == [replace(change, note="") for change in made], (
        "planned before they are made, a node's changes are those that are then carried out"
    )


DROP_IN = "/etc/systemd/system/docker.service.d/50-overlay.conf"
SINGLE: list[tuple[str, Change, list[str]]] = [
    (
        "a file edited that nothing was started on since",
        with_path(paths.ETCD_ENVIRONMENT, sha256="0" * 64, text="ETCD_NAME=other\n"),
        ["update file /etc/etcd/etcd.env"],
    ),
    (
        "a file edited and the unit restarted on it",
        both(
            with_path(paths.ETCD_ENVIRONMENT, sha256="0" * 64),
            restarted_on_other(paths.ETCD_UNIT, paths.ETCD_ENVIRONMENT),
        ),
        ["update file /etc/etcd/etcd.env", "restart unit etcd.service"],
    ),
    (
        "a file mended by hand under a process that still runs on another",
        restarted_on_other(layout.DOCKER_UNIT, DROP_IN),
        ["restart unit docker.service"],
    ),
    ("a mode opened", with_path("/etc/etcd/pki/peer.key", mode=0o444), ["update file /etc/etcd/pki/peer.key"]),
    ("a key gone", without_path("/etc/docker/overlay/server.key"), ["create file /etc/docker/overlay/server.key"]),
    ("a unit stopped", with_unit(paths.ETCD_UNIT, state="failed"), ["start unit etcd.service"]),
    ("a unit disabled", with_unit(paths.ETCD_UNIT, enablement="disabled"), ["enable unit etcd.service"]),
    (
        "the vendor's docker started without our drop-in",
        with_unit(layout.DOCKER_UNIT, inputs={}),
        ["restart unit docker.service"],
    ),
    (
        "the vendor's unit updated",
        with_values(docker_unit="# /lib/systemd/system/docker.service\nExecStart=/usr/bin/dockerd -H fd://\n"),
        [f"update file {DROP_IN}", "restart unit docker.service"],
    ),
    (
        "the links switched to another release",
        both(
            with_path("/usr/local/bin/etcd", target="/opt/etcd"),
            restarted_on_other(paths.ETCD_UNIT, "/usr/local/bin/etcd"),
        ),
        ["update link /usr/local/bin/etcd", "restart unit etcd.service"],
    ),
    ("the user removed", lambda facts: replace(facts, users=frozenset()), ["create user etcd"]),
    (
        "the keeper stopped",
        lambda facts: replace(facts, containers=()),
        ["create container overlay-keeper-demo-node1"],
    ),
    ("bootstrap.env edited: it was read once", with_path(paths.ETCD_BOOTSTRAP, sha256="0" * 64), []),
    ("a folder opened", with_path("/etc/docker/overlay", mode=0o755), ["update folder /etc/docker/overlay"]),
    (
        "other members listed: it waits",
        with_path(paths.DOCKER_STORE, sha256="0" * 64),
        [f"update file {paths.DOCKER_STORE}"],
    ),
    (
        "somebody's container",
        lambda facts: replace(facts, containers=(*facts.containers, Container("1", "web", ("bridge",)))),
        [],
    ),
    (
        "the store waited for in vain",
        with_unit(paths.JOIN_UNIT, state="failed"),
        [f"start unit {paths.JOIN_UNIT}"],
    ),
    ("a daemon too busy to answer", with_unit(paths.ETCD_UNIT, state="activating", process=42), []),
    (
        "a daemon that ends again and again",
        with_unit(paths.ETCD_UNIT, state="activating", process=0),
        ["start unit etcd.service"],
    ),
]


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in SINGLE], ids=[case[0] for case in SINGLE])
def test_each_single_difference_gives_exactly_its_changes(tmp_path: Path, change: Change, expected: list[str]) -> None:
    situation = changed(planned_sample(tmp_path), "node1", change)
    assert plan_of(situation) == [f"node1: {line}" for line in expected]


def test_82_an_edited_file_shows_what_was_changed_by_hand(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    right = situation.facts["node1"].paths[paths.ETCD_ENVIRONMENT].text or ""
    edited = with_path(paths.ETCD_ENVIRONMENT, sha256="0" * 64, text=right.replace("PRE_VOTE=true", "PRE_VOTE=false"))
    (change,) = make_plan(PLANE, changed(situation, "node1", edited))
    assert "-ETCD_PRE_VOTE=false\n+ETCD_PRE_VOTE=true\n" in change.diff


def test_no_key_is_shown_in_a_plan(tmp_path: Path) -> None:
    assert "PRIVATE KEY" not in repr(make_plan(PLANE, bare_situation(sample(tmp_path))))


def test_a_network_gone_is_made_and_kept_anew(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    for name in NODES:
        situation = changed(situation, name, sees())
    keepers = [f"{name}: create container overlay-keeper-demo-{name}" for name in NODES]
    assert plan_of(situation) == ["cluster: create network demo", *keepers]


def test_a_network_in_the_inventory_more_restarts_nothing(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    networks = (*situation.cluster.networks, Network("more", IPv4Network("10.98.0.0/24")))
    situation = replace(situation, cluster=replace(situation.cluster, networks=networks))
    keepers = [f"{name}: create container overlay-keeper-more-{name}" for name in NODES]
    assert plan_of(situation) == ["cluster: create network more", *keepers]


def test_one_member_more_restarts_nothing_on_the_old_nodes(tmp_path: Path) -> None:
    old = planned_sample(tmp_path)
    cluster = replace(old.cluster, nodes=(*old.cluster.nodes, node("node4", "192.0.2.4")))
    new = bare_situation(cluster)
    plan = make_plan(PLANE, replace(new, facts={**new.facts, **old.facts}))
    assert lines(plan.restarts) == ["node4: restart unit docker.service"]
    on_old = [change for change in plan if change.where in NODES]
    assert lines(on_old) == [f"{name}: update file {paths.DOCKER_STORE}" for name in NODES]
    assert {change.note for change in on_old} == {"waits for the next restart"}
    assert "cluster: add member node4" in lines(plan)
    assert "node4: start unit etcd.service" in lines(plan)


def test_one_member_more_has_joined_and_nothing_is_left_to_do(tmp_path: Path) -> None:
    grown = planned(replace(sample(tmp_path), nodes=(*sample(tmp_path).nodes, node("node4", "192.0.2.4"))))
    grown = changed(grown, "node1", restarted_on_earlier_members(planned_sample(tmp_path)))
    assert plan_of(grown) == []


def restarted_on_earlier_members(old: Situation) -> Change:
    """dockerd still runs on the list of members that it was started on."""

    def change(facts: Facts) -> Facts:
        inputs = facts.unit(layout.DOCKER_UNIT).inputs
        earlier = old.facts["node1"].unit(layout.DOCKER_UNIT).inputs[paths.DOCKER_STORE]
        assert inputs[paths.DOCKER_STORE] != earlier
        return with_unit(layout.DOCKER_UNIT, inputs={**inputs, paths.DOCKER_STORE: earlier})(facts)

    return change


def test_a_container_that_a_restart_stops_for_good_is_named(tmp_path: Path) -> None:
    containers = (Container("1", "web", ()), Container("2", "kept", (), "always"), Container("3", "once", (), "no"))
    situation = changed(bare_situation(sample(tmp_path)), "node2", lambda facts: replace(facts, containers=containers))
    assert make_plan(PLANE, situation).stopped == ("node2: web", "node2: once")


def test_a_plan_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    situation = planned_sample(tmp_path)
    cluster = replace(situation.cluster, nodes=(*situation.cluster.nodes, node("node4", "192.0.2.4")))
    for name in NODES:
        situation = changed(situation, name, answering(members=None, status=None))
    with pytest.raises(PreflightRefused, match="node4 is to join the store, but that has no quorum"):
        make_plan(PLANE, with_identity(replace(situation, cluster=cluster), pki.make(cluster)))


def test_a_node_is_asked_for_all_that_is_compared(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    asked = gathering.question(PLANE, situation, situation.cluster.node("node1"))
    expected = planned_sample(tmp_path).facts["node1"]
    assert set(asked.paths) == {*expected.paths, layout.FIREWALL_UNIT_FILE, *generations.QUESTION.paths}
    assert {path for path, there in expected.paths.items() if there.sha256} == {*asked.hashed, *asked.large}.difference(
        generations.QUESTION.hashed
    )
    assert set(asked.units) == {paths.ETCD_UNIT, layout.DOCKER_UNIT, paths.JOIN_UNIT, layout.MEND_UNIT}
    assert {*asked.ports} == {2376, 2379, 2380, 4789, 7946}


def test_no_key_is_asked_for(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    for each in situation.cluster.nodes:
        assert not [path for path in gathering.question(PLANE, situation, each).shown if path.endswith(".key")]


def test_a_nodes_script_remembers_everything_before_it_changes_anything(tmp_path: Path) -> None:
    todo = [step for step in steps(PLANE, bare_situation(sample(tmp_path))) if step.node.name == "node1"]
    script = node_script(todo)
    assert script.startswith(library("record", "changes"))
    mine = script.removeprefix(library("record", "changes")).splitlines()
    first_change = mine.index("set -e")
    words = [line.partition(" ")[0] for line in mine]
    assert max(index for index, word in enumerate(words) if word.startswith("remember_")) < first_change
    assert min(index for index, word in enumerate(words) if word.startswith(("put_", "run_"))) > first_change
    assert mine[first_change - 2 : first_change] == ["sync_path $state", "echo recorded"]
    assert mine.count("echo done") == len(todo)
    for shell in (["dash"], ["busybox", "sh"]):
        assert subprocess.run([*shell, "-n"], input=script, text=True, check=False, capture_output=True).stderr == ""
