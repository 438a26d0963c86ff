"""The size of packets: what the nodes' links say, and what Docker is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster_sample import bare_situation, changed, lines, network, planned_sample, sees
from pki_sample import sample

from provision.core.reach import Matrix
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.network import underlay
from provision.phases.networks import ENCRYPTED, MTU
from provision.planes.etcd.plane import PLANE


def linked(situation: Situation, **mtus: int) -> Situation:
    """The situation where the interfaces with some nodes' addresses have other MTUs."""
    for name, mtu in mtus.items():
        address = situation.cluster.node(name).address
        situation = changed(situation, name, lambda facts, a=address, m=mtu: replace(facts, mtus={**facts.mtus, a: m}))
    return situation


def there(situation: Situation, mtu: int | None) -> Situation:
    """The situation where demo is there with such an option."""
    found: dict[str, Any] = {**network("demo", "10.99.0.0/24"), "Options": {MTU: str(mtu)} if mtu else {}}
    for name in situation.facts:
        situation = changed(situation, name, sees(found))
    return situation


def said(situation: Situation, mtu: int) -> Situation:
    return replace(situation, cluster=replace(situation.cluster, mtu=mtu))


@pytest.mark.parametrize(
    ("links", "mtu"),
    [
        ({}, 1500),
        ({"node2": 1400}, 1400),
        ({"node1": 1450, "node3": 1380}, 1380),
        ({"node1": 9001, "node2": 9001, "node3": 9001}, 9000),
        ({"node1": 9000}, 1500),
        ({"node1": 65536, "node2": 65536, "node3": 65536}, 1500),
        ({"node1": 65536}, 1500),
    ],
)
def test_the_smallest_link_counts(tmp_path: Path, links: dict[str, int], mtu: int) -> None:
    assert underlay.mtu(linked(bare_situation(sample(tmp_path)), **links)) == mtu


def test_other_interfaces_and_hosts_that_say_nothing_do_not_count(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    situation = changed(situation, "node1", lambda facts: replace(facts, mtus={**facts.mtus, "10.8.0.1": 1280}))
    assert underlay.mtu(situation) == 1500
    assert underlay.mtu(replace(situation, facts={})) == 1500


def test_what_the_inventory_says_counts(tmp_path: Path) -> None:
    assert underlay.mtu(said(linked(bare_situation(sample(tmp_path)), node1=1400), 1450)) == 1450


@pytest.mark.parametrize(
    ("links", "note"),
    [({}, "overlay, 10.99.0.0/24"), ({"node2": 1400}, "overlay, 10.99.0.0/24, MTU 1350 in containers")],
)
def test_the_plan_says_what_containers_get(tmp_path: Path, links: dict[str, int], note: str) -> None:
    plan = make_plan(PLANE, linked(bare_situation(sample(tmp_path)), **links))
    assert [change.note for change in plan if change.resource == "network demo"] == [note]


@pytest.mark.parametrize(
    ("option", "links", "note"),
    [
        (None, {"node1": 1400}, "MTU in containers 1450 → 1350"),
        (9000, {}, "MTU in containers 8950 → 1450"),
        (1400, {"node1": 1400}, None),
        (1400, {}, None),
        (1300, {"node1": 1400}, None),
        (1500, {}, None),
    ],
)
def test_a_network_whose_packets_are_too_large_is_made_anew(
    tmp_path: Path, option: int | None, links: dict[str, int], note: str | None
) -> None:
    plan = make_plan(PLANE, linked(there(planned_sample(tmp_path), option), **links))
    assert [change.note for change in plan if change.resource == "network demo"] == [note] * bool(note)
    assert [line for line in lines(plan) if "keeper" in line] == [
        f"node{n}: create container overlay-keeper-demo-node{n}" for n in (1, 2, 3) if note
    ]


@pytest.mark.parametrize(("option", "mtu", "anew"), [(1400, 1500, True), (None, 1500, False), (1400, 1400, False)])
def test_what_the_inventory_says_is_made_so(tmp_path: Path, option: int | None, mtu: int, anew: bool) -> None:
    situation = said(there(planned_sample(tmp_path), option), mtu)
    assert ("cluster: replace network demo" in lines(make_plan(PLANE, situation))) is anew


def test_a_way_that_carries_less_than_its_links_counts(tmp_path: Path) -> None:
    situation = linked(bare_situation(sample(tmp_path)), node1=1450)
    matrix = Matrix(sizes={("node1", "node2"): 1450, ("node2", "node1"): 1400})
    assert underlay.mtu(replace(situation, matrix=matrix)) == 1400


def encrypted(situation: Situation, *, there: bool | None = None) -> Situation:
    """The situation where demo is to be encrypted, and is there, encrypted or not."""
    networks = tuple(replace(one, encrypted=True) for one in situation.cluster.networks)
    situation = replace(situation, cluster=replace(situation.cluster, networks=networks))
    if there is None:
        return situation
    found = {**network("demo", "10.99.0.0/24"), "Options": {ENCRYPTED: ""} if there else {}}
    for name in situation.facts:
        situation = changed(situation, name, sees(found))
    return situation


def test_on_an_encrypted_network_containers_get_less(tmp_path: Path) -> None:
    plan = make_plan(PLANE, encrypted(bare_situation(sample(tmp_path))))
    note = "overlay, 10.99.0.0/24, encrypted, MTU 1424 in containers"
    assert [change.note for change in plan if change.resource == "network demo"] == [note]


@pytest.mark.parametrize(("there", "notes"), [(True, []), (False, ["not encrypted → encrypted"])])
def test_a_network_that_is_to_be_encrypted_is_made_anew(tmp_path: Path, there: bool, notes: list[str]) -> None:
    plan = make_plan(PLANE, encrypted(planned_sample(tmp_path), there=there))
    assert [change.note for change in plan if change.resource == "network demo"] == notes
