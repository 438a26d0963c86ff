"""Inventories of one lab with more or fewer of its hosts, and observations on the hosts that stay."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import Fab
from observe import document, lost_pings, run, start

from provision.lab import Lab

PREFIX = "/overlay-provision-test"
#: Seconds for which writes may be refused, at most, though every member that stays is tried.
REFUSED = 3.0
#: A script for a node: write one key after another, at any member that stays, and print a line for each success. By
#: --no-sync etcdctl keeps to these members: else it tries all that the store lists, and waits for those that are off.
_WRITE = """
. /etc/docker/overlay/store.env; cd /etc/docker/overlay
number=0
while :; do
    number=$((number + 1))
    if ETCDCTL_API=2 etcdctl --no-sync --timeout 2s --total-timeout 4s --ca-file store-ca.crt \\
        --cert-file store.crt --key-file store.key --endpoints {endpoints} set {prefix}/$number $number >/dev/null 2>&1
    then echo "$(date +%s%3N) $number"; fi
done >/run/test-writes
"""
#: A command for a node: etcdctl at the node's own member; its words follow.
_OWN = """
. /etc/etcd/etcd.env
ETCDCTL_API=3 etcdctl --endpoints "$ETCD_ADVERTISE_CLIENT_URLS" --cacert "$ETCD_TRUSTED_CA_FILE" \\
    --cert "$ETCD_CERT_FILE" --key "$ETCD_KEY_FILE" """
_PING = "docker exec user-{here} ping -i 0.2 user-{there} >/run/test-pings 2>&1"


def inventory(
    lab: Lab,
    name: str,
    members: Sequence[str],
    *,
    firewall: bool = True,
    workers: Sequence[str] = (),
    absent: Sequence[str] = (),
) -> Path:
    """Write an inventory with these hosts beside the lab's own. `workers`: nodes that are no members."""
    found = dict(re.findall(r"(?m)^  (node\d+): \{address: ([0-9.]+)\}$", lab.inventory.read_text()))
    nodes = "".join(
        f"  {one}: {{address: {found[one]}, member: {str(one in members).lower()}}}\n" for one in (*members, *workers)
    )
    nodes += "".join(f"  {one}: {{address: {found[one]}, state: absent}}\n" for one in absent)
    text = re.sub(
        r"(?m)^nodes:\n(?:  .*\n)+", f"firewall: {str(firewall).lower()}\nnodes:\n{nodes}", lab.inventory.read_text()
    )
    path = lab.folder / f"{name}.yml"
    path.write_text(text)
    return path


def names(numbers: str) -> list[str]:
    """The names of nodes."""
    return [f"node{number}" for number in numbers]


def dockerds(lab: Lab, nodes: Sequence[str]) -> list[str]:
    """When each node's dockerd was started."""
    return [start(lab, node, "docker") for node in nodes]


def members(lab: Lab, fab: Fab, path: Path) -> list[str]:
    """The healthy members, as `status` shows them."""
    rows = document(fab(lab, "status", "--json", inventory=path))["members"]
    return [row["node"] for row in rows if row["health"] == "healthy"]


def let_lead(lab: Lab, name: str, members: Sequence[str]) -> None:
    """Make this one of the members the leader."""
    identities = {member: asked(lab, member)["header"]["member_id"] for member in members}
    leader = next(member for member in members if asked(lab, member)["leader"] == identities[member])
    if leader != name:
        run(lab, leader, f"{_OWN} move-leader {identities[name]:x}")
    assert asked(lab, name)["leader"] == identities[name]


def asked(lab: Lab, member: str) -> dict[str, Any]:
    """What a member says of itself, in the header too."""
    (answer,) = json.loads(run(lab, member, f"{_OWN} endpoint status -w json"))
    status: dict[str, Any] = answer["Status"]
    return status


@dataclass(frozen=True)
class Seen:
    """Observations on the hosts that stay. `gap`: the longest time without a successful write, in seconds."""

    writes: tuple[int, ...]
    gap: float
    lost_pings: int


@contextmanager
def pinged(lab: Lab, here: str, there: str, lost: list[int]) -> Iterator[None]:
    """During the block, ping a container on one host from another's; append how many pings were lost."""
    for name in (here, there):
        start = f"docker run -d --name user-{name} --network demo busybox sleep 9999"
        run(lab, name, f"docker rm -f user-{name} >/dev/null 2>&1; {start}")
    run(lab, here, f"until docker exec user-{here} ping -c 1 -W 1 user-{there}; do sleep 0.2; done >/dev/null 2>&1")
    run(lab, here, f"systemd-run -q --unit test-pinger sh -c '{_PING.format(here=here, there=there)}'")
    try:
        yield
    finally:
        run(lab, here, "pkill -INT -x ping; until grep -q received /run/test-pings\ndo sleep 0.1; done")
    lost.append(lost_pings(run(lab, here, "cat /run/test-pings")))


@contextmanager
def watched(lab: Lab, here: str, there: str, result: list[Seen]) -> Iterator[None]:
    """During the block, write keys and ping, between two hosts that stay; append the observations to `result`."""
    addresses = {node.name: node.address for node in lab.nodes}
    endpoints = ",".join(f"https://{addresses[name]}:2379" for name in (here, there))
    script = _WRITE.format(endpoints=endpoints, prefix=PREFIX)
    lost: list[int] = []
    with pinged(lab, here, there, lost):
        write = f"cat >/run/test-write.sh <<'.'\n{script}.\nsystemd-run -q --unit test-writer sh /run/test-write.sh"
        run(lab, here, write)
        try:
            yield
        finally:
            run(lab, here, "systemctl stop test-writer")
    lines = [line.split() for line in run(lab, here, "cat /run/test-writes").splitlines()]
    times = [int(moment) for moment, _ in lines]
    gap = max((after - before for before, after in itertools.pairwise(times)), default=0) / 1000
    result.append(Seen(tuple(int(number) for _, number in lines), gap, lost[0]))


def keys(lab: Lab, node: str) -> set[int]:
    """Return the keys that a member has, read through the quorum."""
    script = """
    . /etc/docker/overlay/store.env; cd /etc/docker/overlay
    ETCDCTL_API=2 etcdctl --no-sync --ca-file store-ca.crt --cert-file store.crt --key-file store.key \\
        --endpoints "https://${OVERLAY_ADVERTISE%:*}:2379" ls --quorum """
    return {int(line.rpartition("/")[2]) for line in run(lab, node, f"{script}{PREFIX}").splitlines()}
