"""Inventories of one lab that name more or fewer of its hosts, and what is seen on the hosts that stay meanwhile."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import Fab
from observe import document, run, start

from provision.lab import Lab

PREFIX = "/overlay-provision-test"
#: Seconds that no write, tried through every member that stays, may be refused.
REFUSED = 3.0
#: On a node, for as long as the unit runs: one key after another, tried at every member that stays; a line each.
_WRITE = """
. /etc/docker/overlay/store.env; cd /etc/docker/overlay
number=0
while :; do
    number=$((number + 1))
    if ETCDCTL_API=2 etcdctl --timeout 2s --total-timeout 4s --ca-file store-ca.crt --cert-file store.crt \\
        --key-file store.key --endpoints {endpoints} set {prefix}/$number $number >/dev/null 2>&1
    then echo "$(date +%s%3N) $number"; fi
done >/run/test-writes
"""
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
    """Write an inventory beside the lab's own that with these hosts: members, workers that are none, absent ones."""
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


@dataclass(frozen=True)
class Seen:
    """What the hosts that stay have seen: the longest time without a write, in seconds, and pings that were lost."""

    writes: tuple[int, ...]
    gap: float
    lost_pings: int


@contextmanager
def watched(lab: Lab, here: str, there: str, result: list[Seen]) -> Iterator[None]:
    """Write keys and ping from one host that stays to another one's container, all the time."""
    addresses = {node.name: node.address for node in lab.nodes}
    endpoints = ",".join(f"https://{addresses[name]}:2379" for name in (here, there))
    for name in (here, there):
        start = f"docker run -d --name user-{name} --network demo busybox sleep 9999"
        run(lab, name, f"docker rm -f user-{name} >/dev/null 2>&1; {start}")
    run(lab, here, f"until docker exec user-{here} ping -c 1 -W 1 user-{there}; do sleep 0.2; done >/dev/null 2>&1")
    script = _WRITE.format(endpoints=endpoints, prefix=PREFIX)
    run(lab, here, f"cat >/run/test-write.sh <<'.'\n{script}.\nsystemd-run -q --unit test-writer sh /run/test-write.sh")
    run(lab, here, f"systemd-run -q --unit test-pinger sh -c '{_PING.format(here=here, there=there)}'")
    try:
        yield
    finally:
        counted = "until grep -q received /run/test-pings\ndo sleep 0.1; done"
        run(lab, here, f"systemctl stop test-writer; pkill -INT -x ping; {counted}")
    lines = [line.split() for line in run(lab, here, "cat /run/test-writes").splitlines()]
    times = [int(moment) for moment, _ in lines]
    gap = max((after - before for before, after in itertools.pairwise(times)), default=0) / 1000
    counts = re.search(r"(\d+) packets transmitted, (\d+) packets received", run(lab, here, "cat /run/test-pings"))
    assert counts, "the pings were not counted"
    result.append(Seen(tuple(int(number) for _, number in lines), gap, int(counts[1]) - int(counts[2])))


def keys(lab: Lab, node: str) -> set[int]:
    """The keys that a member holds, read through the quorum."""
    script = """
    . /etc/docker/overlay/store.env; cd /etc/docker/overlay
    ETCDCTL_API=2 etcdctl --ca-file store-ca.crt --cert-file store.crt --key-file store.key \\
        --endpoints "https://${OVERLAY_ADVERTISE%:*}:2379" ls --quorum """
    return {int(line.rpartition("/")[2]) for line in run(lab, node, f"{script}{PREFIX}").splitlines()}
