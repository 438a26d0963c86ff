"""Docker's keys as a restore writes them, compared with those of a real store (Docker 20.10.24)."""

from __future__ import annotations

import base64
import json
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import pytest
from cluster_sample import bare_situation, changed, sees
from cluster_sample import network as seen
from pki_sample import sample

from provision.backup import foreseen
from provision.network.subnets import subnets_of
from provision.planes.etcd import tree
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.saving import KEYS, leaves

POOL = f"{tree.DOCKER}/ipam/default/data/"
CONFIG = f"{tree.DOCKER}/ipam/default/config/GlobalDefault"


@pytest.mark.parametrize(
    ("pool", "taken", "sequence"),
    [
        # As Docker itself had written them for new networks.
        ("10.77.0.0/24", ["10.77.0.1"], "AAAAAAAAAQAAAAAAAAAA/cAAAAAAAAAAAAAAAQAAAAAAAAAAAAAABgAAAAEAAAAAAAAAAQ=="),
        ("10.81.0.0/25", ["10.81.0.1"], "AAAAAAAAAIAAAAAAAAAAfcAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAgAAAAEAAAAAAAAAAQ=="),
        ("10.80.0.0/28", ["10.80.0.1"], "AAAAAAAAABAAAAAAAAAADcABAAAAAAAAAAAAAQ=="),
        ("10.79.0.0/30", ["10.79.0.1"], "AAAAAAAAAAQAAAAAAAAAAdAAAAAAAAAAAAAAAQ=="),
        # A gateway and another address that were chosen.
        (
            "10.78.0.0/16",
            ["10.78.0.7", "10.78.5.3"],
            "AAAAAAABAAAAAAAAAAD//IEAAAAAAAAAAAAAAQAAAAAAAAAAAAAAJxAAAAAAAAAAAAAAAQAAAAAAAAAAAAAH1gAAAAEAAAAAAAAAAQ==",
        ),
    ],
)
def test_a_bitmap_is_dockers_own(pool: str, taken: list[str], sequence: str) -> None:
    wanted = json.dumps({"id": f"GlobalDefault/{pool}", "sequence": sequence}, separators=(",", ":"))
    assert tree.bitmap(f"GlobalDefault/{pool}", map(IPv4Address, taken)) == wanted


@pytest.mark.parametrize("length", range(16, 31))
def test_a_bitmap_counts_every_address(length: int) -> None:
    size = 2 ** (32 - length)
    found = base64.b64decode(
        json.loads(tree.bitmap(f"GlobalDefault/10.16.0.0/{length}", [IPv4Address("10.16.0.1")]))["sequence"]
    )
    numbers = [found[place : place + 12] for place in range(16, len(found), 12)]
    runs = [(int.from_bytes(one[:4]), int.from_bytes(one[4:])) for one in numbers]
    assert int.from_bytes(found[:8]) == size
    assert int.from_bytes(found[8:16]) == size - 3
    assert sum(number.bit_count() * times for number, times in runs) == 3
    assert sum(times for _, times in runs) == max(1, size // 32)
    assert all(one[0] != other[0] for one, other in pairwise(runs))


def network(name: str, *pools: str, deleting: bool = False, kind: str = "overlay") -> str:
    infos = [
        {
            "IPAMData": json.dumps(
                {"AddressSpace": "GlobalDefault", "Gateway": f"{pool.partition('.0/')[0]}.1/24", "Pool": pool}
            ),
            "PoolID": f"GlobalDefault/{pool}",
        }
        for pool in pools
    ]
    there = {"id": name * 64, "name": name, "networkType": kind, "ipamV4Info": json.dumps(infos)}
    return json.dumps({**there, "inDelete": deleting, "ipamV6Info": ""})


def config(*pools: str) -> str:
    return json.dumps(
        {"Scope": "", "Subnets": {f"GlobalDefault/{pool}": {"Pool": pool, "RefCount": 1} for pool in pools}}
    )


def keys(**more: str) -> tree.Keys:
    """The keys of a store with two networks; the second one has two pools."""
    d = tree.DOCKER
    v2 = {
        f"{d}/network/{'a' * 64}": network("a", "10.1.0.0/24"),
        f"{d}/network/{'b' * 64}": network("b", "10.2.0.0/24", "10.3.0.0/24"),
        f"{d}/overlay/network/{'a' * 64}": '{"subnets":[{"Vni":256}]}',
        f"{d}/overlay/network/{'b' * 64}": '{"subnets":[{"Vni":0}]}',
        f"{d}/endpoint/{'a' * 64}/{'1' * 64}": '{"locator":"192.0.2.1"}',
        f"{d}/endpoint_count/{'a' * 64}": '{"Count":4}',
        f"{d}/endpoint_count/{'b' * 64}": '{"Count":0}',
        f"{POOL}GlobalDefault/10.1.0.0/24": "with containers",
        CONFIG: config("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"),
        f"{d}/idm/vxlan-id": "numbers",
        "/docker/nodes/192.0.2.1:2376": "192.0.2.1:2376",
        "/overlay-provision/quorum/1": "ours",
        "/mine/key": "a user's",
        **{name.replace("__", "/"): value for name, value in more.items()},
    }
    return tree.Keys(v2, {b"other": b"value"})


def test_networks_come_back_and_no_container_does() -> None:
    written = dict(tree.to_write(keys()))
    d = tree.DOCKER
    assert written[f"{d}/network/{'a' * 64}"] == network("a", "10.1.0.0/24")
    assert written[f"{d}/overlay/network/{'a' * 64}"] == '{"subnets":[{"Vni":256}]}'
    assert written[f"{d}/idm/vxlan-id"] == "numbers"
    assert written["/mine/key"] == "a user's"
    assert written[f"{d}/endpoint_count/{'a' * 64}"] == '{"Count":0}'
    assert [key for key in written if key.startswith(POOL)] == [
        f"{POOL}GlobalDefault/10.{number}.0.0/24" for number in (1, 2, 3)
    ]
    assert not [
        key for key in written if "/endpoint/" in key or key.startswith(("/docker/nodes", "/overlay-provision"))
    ]


def test_a_network_is_written_after_all_that_belongs_to_it() -> None:
    order = list(dict(tree.to_write(keys())))
    first = min(order.index(key) for key in order if key.startswith(f"{tree.DOCKER}/network/"))
    assert [key for key in order[first:] if not key.startswith(f"{tree.DOCKER}/network/")] == []


def test_only_what_containers_change_is_not_written_over() -> None:
    kept = [key for key, _ in tree.to_write(keys()) if tree.changes_with_use(key)]
    assert {key.split("/")[4] for key in kept} == {"ipam", "endpoint_count"}
    assert CONFIG not in kept


@pytest.mark.parametrize(
    "half",
    [
        # Its subnet is taken, and nothing else is there yet; or all of it but the network itself.
        {CONFIG: config("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.9.0.0/24")},
        {
            CONFIG: config("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.9.0.0/24"),
            f"{tree.DOCKER}/overlay/network/{'c' * 64}": '{"subnets":[{"Vni":0}]}',
            f"{tree.DOCKER}/endpoint_count/{'c' * 64}": '{"Count":0}',
        },
        # It is being removed.
        {
            CONFIG: config("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.9.0.0/24"),
            f"{tree.DOCKER}/network/{'c' * 64}": network("c", "10.9.0.0/24", deleting=True),
            f"{tree.DOCKER}/overlay/network/{'c' * 64}": '{"subnets":[{"Vni":0}]}',
        },
        {f"{tree.DOCKER}/network/{'c' * 64}": network("c", "10.9.0.0/24")},
    ],
)
def test_a_network_that_was_half_there_does_not_come_back_and_its_subnet_is_free(half: dict[str, str]) -> None:
    whole = dict(tree.to_write(keys()))
    assert dict(tree.to_write(tree.Keys({**keys().v2, **half}))) == whole


def test_a_range_within_a_subnet_and_ipv6_come_back() -> None:
    info = {"AddressSpace": "GlobalDefault", "Gateway": "10.4.0.7/16", "AuxAddresses": {"x": "10.4.5.3/16"}}
    v4 = [{"IPAMData": json.dumps({**info, "Pool": "10.4.0.0/16"}), "PoolID": "GlobalDefault/10.4.0.0/16/10.4.5.0/24"}]
    v6 = [{"IPAMData": "{}", "PoolID": "GlobalDefault/fd00::/64"}]
    value = json.loads(network("c")) | {"ipamV4Info": json.dumps(v4), "ipamV6Info": json.dumps(v6)}
    more = {
        f"{tree.DOCKER}/network/{'c' * 64}": json.dumps(value),
        f"{tree.DOCKER}/overlay/network/{'c' * 64}": "{}",
        f"{POOL}GlobalDefault/fd00::/64": "as it was",
        CONFIG: config("10.4.0.0/16", "10.4.0.0/16/10.4.5.0/24", "fd00::/64"),
    }
    written = dict(tree.to_write(tree.Keys({**keys().v2, **more})))
    assert written[f"{POOL}GlobalDefault/fd00::/64"] == "as it was"
    taken = [IPv4Address("10.4.0.7"), IPv4Address("10.4.5.3")]
    assert written[f"{POOL}GlobalDefault/10.4.0.0/16"] == tree.bitmap("GlobalDefault/10.4.0.0/16", taken)
    assert sorted(json.loads(written[CONFIG])["Subnets"]) == [
        "GlobalDefault/10.4.0.0/16",
        "GlobalDefault/10.4.0.0/16/10.4.5.0/24",
        "GlobalDefault/fd00::/64",
    ]


def test_keys_that_end_by_themselves_are_not_saved() -> None:
    root = {
        "dir": True,
        "nodes": [
            {"key": "/docker", "dir": True, "nodes": [{"key": "/docker/nodes/a", "value": "a", "ttl": 60}]},
            {"key": "/empty", "dir": True},
            {"key": "/mine", "value": "x"},
        ],
    }
    assert dict(leaves(root)) == {"/mine": "x"}


def test_307_the_list_of_networks_is_that_of_the_saved_keys(tmp_path: Path) -> None:
    """Not that of a moment before: one is made meanwhile, one is half removed, one is another driver's."""
    removed = network("c", "10.9.0.0/24", deleting=True)
    other = network("e", "10.8.0.0/24", kind="weave")
    more = {f"{tree.DOCKER}/network/{json.loads(one)['id']}": one for one in (removed, other)}
    more[f"{tree.DOCKER}/overlay/network/{'e' * 64}"] = "{}"
    files = {KEYS: json.dumps({"v2": {**keys().v2, **more}, "v3": {}}).encode()}
    before = changed(bare_situation(sample(tmp_path)), "node1", sees(seen("gone", "10.7.0.0/24")))
    found = foreseen.shared(PLANE.saved_networks(before, files))
    assert {(one["Name"], one["Scope"], *map(str, subnets_of(one))) for one in found} == {
        ("a", "global", "10.1.0.0/24"),
        ("b", "global", "10.2.0.0/24", "10.3.0.0/24"),
    }


def test_the_plan_says_how_many_networks_and_keys_of_users_come_back() -> None:
    assert tree.told(keys()) == "2 networks with their IDs and subnets, 2 keys of users"


def test_keys_of_both_versions_are_read_from_an_archive() -> None:
    word = base64.b64encode(b"\xff\x00").decode()
    ours = base64.b64encode(b"/overlay-provision/probe").decode()
    text = json.dumps({"v2": {"/a": "b"}, "v3": {word: word, ours: word}}).encode()
    found = tree.of({KEYS: text})
    assert found == tree.Keys({"/a": "b"}, {b"\xff\x00": b"\xff\x00"})
