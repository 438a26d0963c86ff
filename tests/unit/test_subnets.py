"""What is in use, and what is chosen beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from cluster_sample import RELEASE, bare_situation, changed, lines, network, planned, sees, with_values
from hypothesis import given, settings
from hypothesis import strategies as st
from pki_sample import sample
from preflight_sample import obstacle

from provision.core.plan import CLUSTER
from provision.core.situation import Situation
from provision.engine import make_plan
from provision.facts import Facts
from provision.inventory.model import Network
from provision.network.subnets import PRIVATE, assigned, claims, free, gateway_bridge, spare, taken
from provision.planes.etcd.local import Local
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.plane import PLANE

DEMO = IPv4Network("10.99.0.0/24")
LOCAL = {"Name": "bridge", "Scope": "local", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}}


def nets(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def resolvers(*addresses: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, resolvers=addresses)


def docker_has(*networks: dict[str, Any]) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, networks=(*facts.networks, *networks))


def auto(folder: Path, *names: str) -> Situation:
    """Bare hosts, and an inventory that leaves subnets to the planner beside demo's."""
    cluster = sample(folder)
    networks = (*cluster.networks, *(Network(name, None) for name in names))
    return bare_situation(replace(cluster, networks=networks))


def used(situation: Situation, node: str) -> dict[str, str]:
    return {str(one.subnet): one.what for one in claims(situation, situation.cluster.node(node))}


# ---- what is in use ----


@pytest.mark.parametrize(
    ("route", "subnet"),
    [
        ("10.98.0.0/16 via 192.0.2.9 dev eth0 proto static metric 100", "10.98.0.0/16"),
        ("10.98.3.4 dev tun0 scope link", "10.98.3.4/32"),
        ("10.98.0.0/16 dev wg0 table 51820 scope link", "10.98.0.0/16"),
        ("10.98.0.0/16 proto static", "10.98.0.0/16"),
        ("blackhole 10.98.0.0/16", "10.98.0.0/16"),
        ("unreachable 10.98.0.0/16 metric 4278198272", "10.98.0.0/16"),
        ("10.0.0.0/8 dev br0", "10.0.0.0/8"),
        ("172.18.0.0/16 dev br-lan", "172.18.0.0/16"),
    ],
)
def test_a_route_is_in_use(tmp_path: Path, route: str, subnet: str) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node1", with_values(routes=f"{route} ;"))
    assert used(situation, "node1")[subnet] == f"the route {route}"


@pytest.mark.parametrize(
    "route",
    [
        "default via 192.0.2.254 dev eth0",
        "0.0.0.0/1 via 10.8.0.1 dev tun0",
        "128.0.0.0/1 via 10.8.0.1 dev tun0",
        "unreachable default metric 4278198272",
        "nexthop via 192.0.2.5 dev eth0 weight 1",
        "10.98.0.0/16 dev ov-001001-abcde",
        "multicast 224.0.0.0/4 dev eth0",
        "",
    ],
)
def test_what_leads_everywhere_or_nowhere_is_not(tmp_path: Path, route: str) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node1", with_values(routes=f"{route} ;"))
    assert set(used(situation, "node1")) == {"127.0.0.1/32", "192.0.2.1/32", "192.0.2.53/32"}


def test_name_servers_and_addresses_without_a_route_are_in_use(tmp_path: Path) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node1", resolvers("10.98.0.53", "fd00::53", "junk"))
    situation = changed(situation, "node1", lambda facts: replace(facts, mtus={**facts.mtus, "10.97.0.1": 65536}))
    assert used(situation, "node1") == {
        "192.0.2.0/24": "the route 192.0.2.0/24 dev eth0 scope link",
        "10.98.0.53/32": "the name server 10.98.0.53",
        "127.0.0.1/32": "its address 127.0.0.1",
        "10.97.0.1/32": "its address 10.97.0.1",
    }


def test_dockers_networks_are_in_use_but_for_the_inventorys_own(tmp_path: Path) -> None:
    networks = (LOCAL, network("other", "10.96.0.0/24"), network("demo", "10.99.0.0/24"), {"Name": "none"})
    situation = changed(bare_situation(sample(tmp_path)), "node1", docker_has(*networks))
    found = used(situation, "node1")
    assert (found["172.17.0.0/16"], found["10.96.0.0/24"]) == ("Docker's network bridge", "Docker's network other")
    assert "10.99.0.0/24" not in found


def test_every_nodes_claims_and_addresses_are_taken_and_what_the_inventory_says(tmp_path: Path) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node1", with_values(routes="10.1.0.0/16 dev a;"))
    situation = changed(situation, "node3", with_values(routes="10.2.0.0/16 dev a;"))
    assert {*nets("10.1.0.0/16", "10.2.0.0/16"), DEMO} <= set(taken(situation))
    assert {*nets("192.0.2.1/32", "192.0.2.3/32"), DEMO} <= set(taken(replace(situation, facts={})))


# ---- what is free ----

subnets = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.one_of(st.integers(0x0A000000, 0x0AFFFFFF), st.integers(0xAC100000, 0xAC1FFFFF), st.integers(0, 2**32 - 1)),
    st.integers(8, 32),
)


@given(st.lists(subnets, max_size=30), st.integers(16, 29))
@settings(deadline=None)
def test_what_is_free_overlaps_nothing_and_is_private_and_the_same_each_time(
    used: list[IPv4Network], length: int
) -> None:
    found = free(used, length)
    assert found == free(reversed(used), length)
    if found:
        assert found.prefixlen == length
        assert any(found.subnet_of(pool) for pool in PRIVATE)
        assert not any(found.overlaps(one) for one in used)


@given(st.lists(subnets, max_size=6), st.integers(0x0A000000 >> 8, 0x0AFFFFFF >> 8))
@settings(deadline=None)
def test_the_last_one_that_is_free_is_found(used: list[IPv4Network], last: int) -> None:
    """Everything private taken but one /24: it is that, or none where `used` has it."""
    left = IPv4Network((last << 8, 24))
    around = [
        *(part for pool in PRIVATE if left.subnet_of(pool) for part in pool.address_exclude(left)),
        *(pool for pool in PRIVATE if not left.subnet_of(pool)),
    ]
    expected = None if any(left.overlaps(one) for one in used) else left
    assert free([*around, *used], 24) == expected


@pytest.mark.parametrize(
    ("used", "length", "expected"),
    [
        ([], 24, "10.99.0.0/24"),
        (["10.99.0.0/24"], 24, "10.100.0.0/24"),
        (["10.99.200.1/32"], 24, "10.100.0.0/24"),
        (["10.96.0.0/11"], 24, "10.128.0.0/24"),
        (["10.0.0.0/8"], 24, "172.16.0.0/24"),
        (["10.0.0.0/8", "172.16.0.0/12"], 29, "192.168.0.0/29"),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/17"], 24, "192.168.128.0/24"),
        ([f"10.{n}.7.0/24" for n in range(256)] + ["172.16.0.0/12", "192.168.0.0/16"], 24, "10.99.0.0/24"),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], 24, None),
        ([], 8, None),
    ],
)
def test_the_first_that_is_free(used: list[str], length: int, expected: str | None) -> None:
    assert free(nets(*used), length) == (IPv4Network(expected) if expected else None)


def test_what_docker_takes_later_is_chosen_last(tmp_path: Path) -> None:
    situation = bare_situation(sample(tmp_path))
    private = with_values(routes="10.0.0.0/8 dev tun0;")
    assert spare(changed(situation, "node1", private)) == IPv4Network("172.16.0.0/24")
    private = with_values(routes="10.0.0.0/8 dev tun0;172.16.0.0/16 dev tun0;")
    assert spare(changed(situation, "node1", private)) == IPv4Network("172.17.0.0/24")
    pools = with_values(daemon_json='{"default-address-pools": [{"base": "10.64.0.0/10", "size": 24}]}')
    assert spare(changed(situation, "node1", pools)) == IPv4Network("10.128.0.0/24")


# ---- networks ----


def test_39_what_is_suggested_is_no_obstacle(tmp_path: Path) -> None:
    route = with_values(routes="10.99.0.0/24 dev eth1;10.100.3.0/24 dev eth1;")
    advice = obstacle(tmp_path, route, "overlap").advice
    assert "for example 10.101.0.0/24: no node uses it" in advice
    cluster = replace(sample(tmp_path), networks=(Network("demo", IPv4Network("10.101.0.0/24")),))
    assert make_plan(PLANE, changed(bare_situation(cluster), "node2", route))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (with_values(routes="blackhole 10.99.0.0/26;"), "the route blackhole 10.99.0.0/26"),
        (resolvers("10.99.0.53"), "the name server 10.99.0.53"),
        (docker_has(network("other", "10.99.0.0/16")), "Docker's network other"),
        (lambda facts: replace(facts, mtus={**facts.mtus, "10.99.0.9": 1500}), "its address 10.99.0.9"),
    ],
    ids=["a route", "a name server", "a network", "an address"],
)
def test_39_whatever_has_the_addresses_is_told(tmp_path: Path, change: Callable[[Facts], Facts], what: str) -> None:
    assert obstacle(tmp_path, change, "overlap").evidence == f"network demo (10.99.0.0/24) overlaps {what}"


def test_39_where_nothing_is_free_nothing_is_suggested_and_auto_is_refused(tmp_path: Path) -> None:
    everything = with_values(routes="10.0.0.0/8 dev a;172.16.0.0/12 dev a;192.168.0.0/16 dev a;")
    outcome = obstacle(tmp_path, everything, "overlap")
    assert outcome.advice == "give it another subnet in the inventory"
    situation = changed(auto(tmp_path, "more"), "node1", everything)
    assert assigned(situation)["more"] == DEMO


def test_a_subnet_is_chosen_around_all_that_is_known(tmp_path: Path) -> None:
    situation = changed(auto(tmp_path, "more", "most"), "node3", with_values(routes="10.100.0.0/14 dev eth1;"))
    assert assigned(situation) == {
        "demo": DEMO,
        "more": IPv4Network("10.104.0.0/24"),
        "most": IPv4Network("10.105.0.0/24"),
    }
    notes = [change.note for change in make_plan(PLANE, situation) if change.where == CLUSTER]
    assert notes == ["overlay, 10.99.0.0/24", "overlay, 10.104.0.0/24 (chosen)", "overlay, 10.105.0.0/24 (chosen)"]


def test_a_network_that_is_there_keeps_its_subnet(tmp_path: Path) -> None:
    cluster = replace(sample(tmp_path), networks=(Network("demo", None),))
    situation = planned(cluster)
    assert not len(make_plan(PLANE, situation))
    for there in ("10.7.0.0/24", "10.98.0.0/16"):
        moved = (network("demo", there),)
        situation = changed(situation, "node2", sees(*moved))
        for other in ("node1", "node3"):
            situation = changed(situation, other, sees())
        assert assigned(situation) == {"demo": IPv4Network(there)}
        assert lines(make_plan(PLANE, situation)) == []
        assert lines(make_plan(PLANE, changed(situation, "node1", with_values(routes="10.99.0.0/16 dev a;")))) == []


def test_a_network_without_a_subnet_gets_one(tmp_path: Path) -> None:
    cluster = replace(sample(tmp_path), networks=(Network("demo", None),))
    situation = changed(planned(cluster), "node1", sees())
    bare = {**network("demo", ""), "IPAM": {"Config": None}}
    for name in situation.facts:
        situation = changed(situation, name, sees(bare))
    (change,) = (one for one in make_plan(PLANE, situation) if one.resource == "network demo")
    assert (change.action, change.note) == ("replace", "no subnet → 10.99.0.0/24")


@given(st.lists(subnets, max_size=20))
@settings(deadline=None)
def test_what_is_chosen_is_in_nobodys_way_and_the_same_each_time(used: list[IPv4Network]) -> None:
    cluster = replace(sample(Path("/absent")), networks=(Network("demo", None), Network("more", None)))
    facts = {"node2": Facts(values={"routes": "".join(f"{subnet} dev a;" for subnet in used)})}
    situation = Situation(cluster, Local(RELEASE, Identity.read(cluster)), facts)
    found = assigned(situation)
    assert found == assigned(situation)
    assert not found["demo"].overlaps(found["more"])
    assert not any(found[name].overlaps(one) for name in found for one in used)


# ---- the bridge out of the overlays ----

COMPOSE = {"Name": "app_default", "Scope": "local", "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]}}
GATEWAY = {"Name": "docker_gwbridge", "Scope": "local", "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]}}
POOLS = '{"default-address-pools": [{"base": "10.64.0.0/15", "size": 16}]}'
WITH_POOLS = {"daemon_json": POOLS, "routes": "10.64.8.0/24 dev eth1;"}


@pytest.mark.parametrize(
    ("routes", "networks", "subnet"),
    [
        ("", (LOCAL,), None),
        ("", (), None),
        ("10.0.0.0/8 dev tun0", (LOCAL,), None),
        ("0.0.0.0/1 dev tun0", (LOCAL,), None),
        ("0.0.0.0/1 dev tun0;128.0.0.0/1 dev tun0", (LOCAL,), "172.18.0.0/16"),
        ("128.0.0.0/1 dev tun0;172.18.7.0/24 dev eth1", (LOCAL,), "172.19.0.0/16"),
        ("172.18.7.0/24 via 192.0.2.9 dev eth0", (LOCAL,), "172.19.0.0/16"),
        ("172.18.7.0/24 dev eth1 table 100", (LOCAL,), "172.19.0.0/16"),
        ("172.16.0.0/12 dev tun0", (LOCAL,), "192.168.0.0/20"),
        ("172.16.0.0/12 dev tun0;192.168.0.0/17 dev a", (LOCAL,), "192.168.128.0/20"),
        ("172.16.0.0/12 dev tun0;192.168.0.0/16 dev a", (LOCAL,), "10.100.0.0/24"),
        ("172.18.0.0/16 dev br-0123456789ab proto kernel scope link", (LOCAL, COMPOSE), None),
        ("172.18.0.0/16 dev br-0123456789ab;172.19.1.0/24 dev eth1", (LOCAL, COMPOSE), "172.20.0.0/16"),
        ("172.17.0.0/16 dev docker0;172.18.0.0/16 dev br-0123456789ab", (), None),
        ("172.18.0.0/16 dev br-lan", (LOCAL,), "172.19.0.0/16"),
        ("172.18.0.0/16 dev br-lan", (LOCAL, COMPOSE), None),
        ("172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 linkdown", (LOCAL,), None),
    ],
)
def test_39_the_way_out_is_made_where_docker_would_be_in_the_way(
    tmp_path: Path, routes: str, networks: tuple[dict[str, Any], ...], subnet: str | None
) -> None:
    situation = changed(bare_situation(sample(tmp_path)), "node2", with_values(routes=routes))
    situation = changed(situation, "node2", docker_has(*networks))
    expected = IPv4Network(subnet) if subnet else None
    assert gateway_bridge(situation, situation.cluster.node("node2")) == expected
    made = {one.where: one.note for one in make_plan(PLANE, situation) if one.resource == "network docker_gwbridge"}
    assert made == {"node1": "bridge", "node2": f"bridge, {subnet} (chosen)" if subnet else "bridge", "node3": "bridge"}


def test_39_the_way_out_avoids_name_servers_overlays_and_takes_from_the_users_pools(tmp_path: Path) -> None:
    bare = changed(bare_situation(sample(tmp_path)), "node2", docker_has(LOCAL))
    node = bare.cluster.node("node2")
    assert gateway_bridge(changed(bare, "node2", resolvers("172.18.0.53")), node) == IPv4Network("172.19.0.0/16")
    overlay = replace(bare.cluster, networks=(Network("demo", IPv4Network("172.18.0.0/24")),))
    assert gateway_bridge(replace(bare, cluster=overlay), node) == IPv4Network("172.19.0.0/16")
    pools = changed(bare, "node2", with_values(**WITH_POOLS))
    assert gateway_bridge(pools, node) == IPv4Network("10.65.0.0/16")


def test_39_a_way_out_that_is_there_stays(tmp_path: Path) -> None:
    cluster = sample(tmp_path)
    situation = changed(planned(cluster), "node1", docker_has(LOCAL, GATEWAY))
    routes = "172.18.0.0/16 dev docker_gwbridge;172.18.9.0/24 dev a;172.19.9.0/24 dev a;"
    situation = changed(situation, "node1", with_values(routes=routes))
    assert gateway_bridge(situation, cluster.node("node1")) == IPv4Network("172.20.0.0/16")
    assert lines(make_plan(PLANE, situation)) == []
