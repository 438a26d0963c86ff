"""The members of the store: they answer, agree, and replicate keys."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from provision.checks.proof import Proof
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.planes.etcd.coordinator import opened
from provision.planes.etcd.membership import peer_url
from provision.waiting import wait_for

#: The folder of the keys that a run writes for its checks.
KEYS = "/overlay-provision"


@check("etcd", quick=True)
def members_answer(proof: Proof) -> Iterator[Outcome]:
    """Every member of the store answers, with its version and the size of its database."""
    for node in proof.cluster.members:
        status = opened(proof.coordinator).v3(node, _status)
        yield passed(node.name, f"etcd {status.version}, database {status.db_size / 1024:.0f} KiB")


@check("etcd", quick=True)
def one_leader(proof: Proof) -> Iterator[Outcome]:
    """All members name the same leader: without one leader the store takes no writes."""
    leaders = {node.name: opened(proof.coordinator).v3(node, _status).leader for node in proof.cluster.members}
    names = {leader.id: leader.name for leader in leaders.values() if leader}
    if len(names) == 1 and all(leaders.values()):
        yield passed("cluster", f"all {len(leaders)} members name {next(iter(names.values()))}")
    else:
        said = ", ".join(f"{name}: {leader.name if leader else 'nobody'}" for name, leader in leaders.items())
        yield failed("cluster", f"members name different leaders: {said}", "look at journalctl -u etcd on each")


@check("etcd", quick=True)
def one_member_list(proof: Proof) -> Iterator[Outcome]:
    """All members list the same members, those of the inventory: any other one counts for the quorum as well."""
    wanted = {peer_url(node): node.name for node in proof.cluster.members}
    for node in proof.cluster.members:
        members = opened(proof.coordinator).v3(node, lambda client: list(client.members))
        listed = {url: member.name for member in members for url in member.peer_urls}
        if listed.keys() == wanted.keys():
            yield passed(node.name, f"lists {', '.join(sorted(listed.values()))}")
            continue
        unknown = [
            f"{listed[url]} ({url}), which the inventory does not know" for url in sorted(listed.keys() - wanted)
        ]
        missing = [f"{wanted[url]} is not in its list" for url in sorted(wanted.keys() - listed)]
        yield failed(node.name, "; ".join([*(f"lists {one}" for one in unknown), *missing]), "fab plan")


@check("etcd", quick=True)
def v3_key(proof: Proof) -> Iterator[Outcome]:
    """A key written at one member through the v3 API is read at every other: the store replicates."""
    first, *others = proof.cluster.members
    key = f"{KEYS}/{proof.run}"
    v3 = opened(proof.coordinator).v3
    for _, left in v3(first, lambda client: list(client.get_prefix(f"{KEYS}/", keys_only=True))):
        if left.key.decode().rpartition("/")[2] not in proof.living:
            v3(first, partial(_delete, left.key))
    v3(first, lambda client: client.put(key, proof.run))
    try:
        for node in others:
            value, _ = v3(node, lambda client: client.get(key))
            yield _read_back(node.name, first.name, value == proof.run.encode(), "v3")
    finally:
        v3(first, partial(_delete, key))


def _status(client: Any) -> Any:
    return client.status()


def _delete(key: str | bytes, client: Any) -> None:
    client.delete(key)


@check("etcd", quick=True)
def v2_key(proof: Proof) -> Iterator[Outcome]:
    """A key written at one member through the v2 API, which Docker uses, is read at every other."""
    first, *others = proof.cluster.members
    key = f"{KEYS}/{proof.run}"
    for left in (opened(proof.coordinator).store(first).get(KEYS) or {}).get("nodes", ()):
        if left["key"].rpartition("/")[2] not in proof.living:
            opened(proof.coordinator).store(first).delete(left["key"])
    opened(proof.coordinator).store(first).put(key, proof.run)
    try:
        for node in others:
            found = opened(proof.coordinator).store(node).get(key)
            yield _read_back(node.name, first.name, (found or {}).get("value") == proof.run, "v2")
    finally:
        opened(proof.coordinator).store(first).delete(key)
        opened(proof.coordinator).store(first).delete_empty(KEYS)


@check("etcd", quick=True)
def docker_on_the_store(proof: Proof) -> Iterator[Outcome]:
    """Every dockerd announces itself in the store, at its start and every 20 s: Docker uses this store."""
    wanted = {f"{node.address}:2376": node.name for node in proof.cluster.nodes}

    def announced() -> set[str]:
        found = opened(proof.coordinator).store().get("/docker/nodes")
        return {entry["key"].rpartition("/")[2] for entry in (found or {}).get("nodes", ())}

    seen = (wait_for(lambda: wanted.keys() <= announced(), 25) and announced()) or announced()
    for address, name in wanted.items():
        if address in seen:
            yield passed(name, f"announced as {address} in the store")
        else:
            yield failed(name, f"{address} is not announced in the store", "on the node: journalctl -u docker")


def _read_back(where: str, first: str, same: bool, api: str) -> Outcome:
    if same:
        return passed(where, f"read the {api} key that was written at {first}")
    return failed(where, f"did not read the {api} key that was written at {first}", "fab status --store")
