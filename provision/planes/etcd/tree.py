"""Docker's keys as a restore writes them: the networks of before, with no container on them. Pure.

Docker makes a network in several writes, and removes it in several. A backup may fall between two: only networks that
were whole come back, and only their subnets are taken.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import groupby
from typing import Any

from provision.planes.etcd.saving import KEYS

DOCKER = "/docker/network/v1.0"
#: What is not written back: containers, the hosts that announced themselves, and our own marks.
NOT_BACK = (f"{DOCKER}/endpoint/", f"{DOCKER}/endpoint_count/", "/docker/nodes/", "/overlay-provision/")
#: How many bits of a bitmap are one number.
BITS = 32


@dataclass(frozen=True)
class Keys:
    """The keys of a backup: of the second version of the API, which Docker uses, and of the third."""

    v2: Mapping[str, str] = field(default_factory=dict)
    v3: Mapping[bytes, bytes] = field(default_factory=dict)

    @cached_property
    def networks(self) -> Mapping[str, Mapping[str, Any]]:
        """The values of the networks that were whole, by ID."""
        folder = f"{DOCKER}/network/"
        found = {
            key.removeprefix(folder): json.loads(value) for key, value in self.v2.items() if key.startswith(folder)
        }
        return {
            identity: value
            for identity, value in found.items()
            if not value.get("inDelete") and f"{DOCKER}/overlay/network/{identity}" in self.v2
        }

    @cached_property
    def pools(self) -> Mapping[str, tuple[IPv4Address, ...]]:
        """The addresses that Docker itself keeps in each IPv4 pool, by the pool's ID."""
        taken: dict[str, tuple[IPv4Address, ...]] = {}
        for network in self.networks.values():
            for info in json.loads(network.get("ipamV4Info") or "[]"):
                data = json.loads(info["IPAMData"])
                known = [data.get("Gateway"), *(data.get("AuxAddresses") or {}).values()]
                pool = f"{data['AddressSpace']}/{data['Pool']}"
                taken[pool] = (*taken.get(pool, ()), *(IPv4Interface(one).ip for one in known if one))
        return taken

    @property
    def of_users(self) -> tuple[str, ...]:
        """The keys that are neither Docker's nor ours."""
        return tuple(key for key in self.v2 if not key.startswith(("/docker/", "/overlay-provision/")))


def of(saved: Mapping[str, bytes]) -> Keys:
    """Return the keys of a backup, from what it has of the store."""
    there = json.loads(saved[KEYS])
    v3 = {base64.b64decode(key): base64.b64decode(value) for key, value in there["v3"].items()}
    return Keys(there["v2"], {key: value for key, value in v3.items() if not key.startswith(b"/overlay-provision/")})


def told(keys: Keys) -> str:
    """Say what comes back."""
    users = len(keys.of_users) + len(keys.v3)
    return f"{len(keys.networks)} networks with their IDs and subnets" + (f", {users} keys of users" if users else "")


def to_write(keys: Keys) -> Iterator[tuple[str, str]]:
    """Yield what is written, in this order: networks come last, so that no container joins one that is not whole."""
    networks = f"{DOCKER}/network/"
    for key, value in keys.v2.items():
        if not key.startswith((*NOT_BACK, networks)) and (back := _value(keys, key, value)) is not None:
            yield key, back
    for pool, taken in keys.pools.items():
        yield f"{DOCKER}/ipam/default/data/{pool}", bitmap(pool, taken)
    for identity in keys.networks:
        yield f"{DOCKER}/endpoint_count/{identity}", json.dumps({"Count": 0}, separators=(",", ":"))
    for identity in keys.networks:
        yield f"{networks}{identity}", keys.v2[f"{networks}{identity}"]


def changes_with_use(key: str) -> bool:
    """Say whether Docker changes a key as containers come and go: it is not written over."""
    return key.startswith((f"{DOCKER}/ipam/default/data/", f"{DOCKER}/endpoint_count/"))


def _value(keys: Keys, key: str, value: str) -> str | None:
    """Return the value of a key; None if it does not come back, or is made anew."""
    if key.startswith(f"{DOCKER}/overlay/network/"):
        return value if key.rpartition("/")[2] in keys.networks else None
    if key.startswith(f"{DOCKER}/ipam/default/data/"):
        return value if ":" in key else None  # IPv6: as it was
    if key.startswith(f"{DOCKER}/ipam/default/config/"):
        return _in_use(keys, value)
    return value


def _in_use(keys: Keys, value: str) -> str:
    """Return the pools of an address space without those that no network has."""
    there = json.loads(value)
    infos = (info for network in keys.networks.values() for info in _infos(network))
    used = {*keys.pools, *(info["PoolID"] for info in infos)}
    there["Subnets"] = {name: pool for name, pool in (there.get("Subnets") or {}).items() if name in used}
    return json.dumps(there, separators=(",", ":"))


def _infos(network: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for version in ("ipamV4Info", "ipamV6Info"):
        yield from json.loads(network.get(version) or "[]")


def bitmap(pool: str, taken: Iterable[IPv4Address]) -> str:
    """Return the value of a pool's key: which addresses are taken; the first and the last one always are.

    libnetwork's bitseq: the size, the number of free bits, then runs of equal numbers of 32 bits, each with its length;
    all of them big-endian, and the first address is the highest bit.
    """
    subnet = IPv4Network(pool.partition("/")[2])
    size = subnet.num_addresses
    bits = {0, size - 1, *(int(one) - int(subnet.network_address) for one in taken)}
    numbers: dict[int, int] = {}
    for bit in bits:
        numbers[bit // BITS] = numbers.get(bit // BITS, 0) | 1 << (BITS - 1 - bit % BITS)
    runs = b"".join(struct.pack(">LQ", number, length) for number, length in _runs(numbers, -(-size // BITS)))
    sequence = struct.pack(">QQ", size, size - len(bits)) + runs
    return json.dumps({"id": pool, "sequence": base64.b64encode(sequence).decode()}, separators=(",", ":"))


def _runs(numbers: Mapping[int, int], length: int) -> Iterator[tuple[int, int]]:
    """Yield each run of equal numbers, and how long it is. A number that is not given is 0."""
    there: list[tuple[int, int]] = []
    last = -1
    for place in sorted(numbers):
        there += [(0, place - last - 1), (numbers[place], 1)]
        last = place
    there.append((0, length - last - 1))
    for number, same in groupby((one for one in there if one[1]), key=lambda one: one[0]):
        yield number, sum(count for _, count in same)
