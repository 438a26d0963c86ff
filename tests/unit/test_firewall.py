"""The host firewall as values: what it lets in, when it is loaded, and what preflight and status say of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as LocalPath

import pytest
from cluster_sample import bare_situation, changed, lines, planned, with_path, with_unit, with_values
from pki_sample import node, sample
from preflight_sample import failures

from provision import layout
from provision.core.plane import Plane
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.facts import PathFact as There
from provision.inventory.model import Cluster
from provision.phases.firewall import Firewall
from provision.planes.etcd import pki
from provision.planes.etcd.local import with_identity
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.ports import PORTS
from provision.planes.swarm.plane import PLANE as SWARM
from provision.resources import File
from provision.verbs.status import ports


def guarded(folder: LocalPath) -> Cluster:
    return replace(sample(folder), firewall=True)


#: Of two recoveries. node2's address is a node's again; the host without a name had left the inventory before.
GIVEN_UP = """\
1f 2026-11-27T15:00:00Z lost: node2 192.0.2.2, node7 192.0.2.7
2f 2026-11-27T16:00:00Z lost:  192.0.2.8, node7 192.0.2.7
"""


def rules(situation: Situation, plane: Plane = PLANE) -> str:
    (phase,) = (one for one in plane.phases if isinstance(one, Firewall))
    held = phase.resources(situation, situation.cluster.nodes[0])
    (found,) = (one for one in held if isinstance(one, File) and one.path == layout.FIREWALL_RULES)
    return (found.content or b"").decode()


@pytest.mark.parametrize(("plane", "number"), [(PLANE, 2380), (SWARM, 2377)], ids=["etcd", "swarm"])
def test_313_hosts_that_were_given_up_reach_only_the_port_at_which_members_are_told_that_they_were_removed(
    tmp_path: LocalPath, plane: Plane, number: int
) -> None:
    """Who has the address of such a host today is a node like any other."""
    situation = bare_situation(guarded(tmp_path))
    assert "given up" not in rules(situation, plane)
    listed = There("file", 0o600, "root:root", text=GIVEN_UP)
    tables = frozenset({layout.FIREWALL_TABLE})
    for one in situation.cluster.nodes:
        paths = {layout.RECOVERIES: listed} if one.name == "node1" else {}
        situation = changed(situation, one.name, lambda facts, paths=paths: replace(facts, paths=paths, tables=tables))
    text = rules(situation, plane)
    accepted = re.findall(r"(?m)^ +(ip saddr .* accept)$", text)
    told = f"ip saddr {{ 192.0.2.7, 192.0.2.8 }} tcp dport {{ {number} }} accept"
    assert accepted == ["ip saddr @nodes accept", told]
    assert text.index(told) < text.index("counter drop")
    table = {row[0]: row[3] for row in ports(situation, plane.ports_of(situation.cluster)).rows}
    assert table.pop(f"{number}/tcp") == "the nodes, and hosts that were given up: 192.0.2.7, 192.0.2.8"
    assert set(table.values()) == {"the nodes only"}


def test_every_port_of_ours_is_shut_to_all_but_the_nodes(tmp_path: LocalPath) -> None:
    text = rules(bare_situation(guarded(tmp_path)))
    assert "elements = { 192.0.2.1, 192.0.2.2, 192.0.2.3 }" in text
    shut = {
        (int(port), protocol)
        for protocol, listed in re.findall(r"(tcp|udp) dport \{ ([0-9, ]+) \} counter drop", text)
        for port in listed.split(", ")
    }
    assert shut == {(port.number, port.protocol) for port in PORTS}


def test_nobody_elses_table_is_named(tmp_path: LocalPath) -> None:
    text = rules(bare_situation(guarded(tmp_path)))
    assert "flush" not in text
    assert set(re.findall(r"(?m)^(?:delete )?table (.*?)(?: \{)?$", text)) == {"inet overlay_provision"}


def test_it_is_asked_for_or_not_there(tmp_path: LocalPath) -> None:
    assert [line for line in lines(make_plan(PLANE, bare_situation(sample(tmp_path)))) if "firewall" in line] == []
    plan = make_plan(PLANE, bare_situation(guarded(tmp_path)))
    assert lines(plan.of("node1", "firewall")) == [
        "node1: create folder /etc/overlay-provision",
        "node1: create file /etc/overlay-provision/firewall.nft",
        "node1: create file /etc/systemd/system/overlay-firewall.service",
        "node1: start table overlay_provision",
    ]
    assert lines(make_plan(PLANE, planned(guarded(tmp_path)))) == []


def test_it_is_up_before_any_daemon_of_ours(tmp_path: LocalPath) -> None:
    phases = list(dict.fromkeys(change.phase for change in make_plan(PLANE, bare_situation(guarded(tmp_path)))))
    assert phases.index("firewall") < phases.index("etcd") < phases.index("docker")


def test_a_node_more_is_let_in_without_a_restart(tmp_path: LocalPath) -> None:
    situation = planned(guarded(tmp_path))
    nodes = (*situation.cluster.nodes, node("node4", "192.0.2.4", member=False))
    cluster = replace(situation.cluster, nodes=nodes)
    plan = make_plan(PLANE, with_identity(replace(situation, cluster=cluster), pki.make(cluster)))
    for name in ("node1", "node2", "node3"):
        assert lines(plan.of(name, "firewall")) == [
            f"{name}: update file /etc/overlay-provision/firewall.nft",
            f"{name}: load table overlay_provision",
        ]
    assert plan.restarts == ()


FLUSHED = "again: the table was changed or flushed"


@pytest.mark.parametrize(
    ("unit", "table", "action", "note"),
    [
        ({"state": "inactive"}, False, "start", "from then on only the nodes reach our ports"),
        ({}, False, "load", FLUSHED),
        ({"inputs": {layout.FIREWALL_RULES: "0" * 64}}, True, "load", "again, atomically"),
        ({"enablement": "disabled"}, True, "enable", ""),
    ],
    ids=["stopped", "flushed", "loaded from other files", "not at the next boot"],
)
def test_what_is_not_as_it_was_loaded_is_loaded(
    tmp_path: LocalPath, unit: dict[str, object], table: bool, action: str, note: str
) -> None:
    situation = changed(planned(guarded(tmp_path)), "node2", with_unit(layout.FIREWALL_UNIT, **unit))
    if not table:
        situation = changed(situation, "node2", lambda facts: replace(facts, tables=frozenset()))
    (change,) = make_plan(PLANE, situation)
    assert (str(change.where), change.action, change.note) == ("node2", action, note)
    assert not change.restarts


def test_one_that_is_not_asked_for_any_more_is_taken_away(tmp_path: LocalPath) -> None:
    situation = planned(sample(tmp_path))
    there = {layout.FIREWALL_UNIT_FILE: There("file", 0o644, "root:root")}
    situation = changed(situation, "node1", lambda facts: replace(facts, paths={**facts.paths, **there}))
    assert lines(make_plan(PLANE, situation)) == ["node1: remove table overlay_provision"]


def test_a_host_without_nft_is_refused_where_it_is_needed(tmp_path: LocalPath) -> None:
    assert failures(bare_situation(sample(tmp_path))) == []
    situation = bare_situation(guarded(tmp_path))
    for name in ("node1", "node3"):
        situation = changed(situation, name, with_values(nft="yes"))
    (outcome,) = failures(situation)
    assert (outcome.check, outcome.where) == ("firewall", "node2")
    assert "apt-get install nftables" in outcome.advice


@pytest.mark.parametrize("make", [sample, guarded])
def test_101_packets_that_leave_by_another_address_are_refused_with_and_without_the_firewall(
    tmp_path: LocalPath, make: Callable[[LocalPath], Cluster]
) -> None:
    situation = planned(make(tmp_path))
    for one in situation.cluster.nodes:
        situation = changed(situation, one.name, with_values(nft="yes"))
    sources = {"192.0.2.1": "198.51.100.7", "192.0.2.3": "192.0.2.2"}
    (outcome,) = failures(changed(situation, "node2", lambda facts: replace(facts, sources=sources)))
    assert (outcome.check, outcome.where) == ("source", "node2")
    assert outcome.evidence == ("packets to node1 come from 198.51.100.7: the other nodes know this node as 192.0.2.2")
    assert "src 192.0.2.2; or write `address: 198.51.100.7`" in outcome.advice


def open_to(situation: Situation) -> set[str]:
    return {row[3] for row in ports(situation, PORTS).rows}


def test_status_says_what_is_clear_text_and_who_reaches_it(tmp_path: LocalPath) -> None:
    rows = {row[0]: row[2] for row in ports(planned(sample(tmp_path)), PORTS).rows}
    assert {port for port, protection in rows.items() if "clear text" in protection} == {"7946/tcp, udp", "4789/udp"}
    assert open_to(planned(sample(tmp_path))) == {"whoever reaches the node"}
    situation = planned(guarded(tmp_path))
    assert open_to(situation) == {"the nodes only"}
    situation = changed(situation, "node2", lambda facts: replace(facts, tables=frozenset()))
    assert open_to(situation) == {"whoever reaches node2"}


def test_a_rule_edited_by_hand_is_put_back(tmp_path: LocalPath) -> None:
    situation = changed(planned(guarded(tmp_path)), "node1", with_path(layout.FIREWALL_RULES, sha256="0" * 64))
    assert lines(make_plan(PLANE, situation)) == ["node1: update file /etc/overlay-provision/firewall.nft"]
