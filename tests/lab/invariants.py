"""What holds after every fault, without help. Every test of a fault asserts it through the fixture `back`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import TYPE_CHECKING

from observe import document, everything, run

from provision import lab as labs
from provision.lab import Lab

if TYPE_CHECKING:
    from conftest import Fab

#: The promised limit in seconds from the end of a fault until packets cross again.
BACK = 90
PREFIX = "/overlay-provision-test"
_ETCDCTL = (
    ". /etc/docker/overlay/store.env; cd /etc/docker/overlay; ETCDCTL_API=2 etcdctl --timeout 2s --total-timeout 4s"
    " --ca-file store-ca.crt --cert-file store.crt --key-file store.key --endpoints"
)
#: etcdctl with the v3 API, at the node's own member.
OWN_MEMBER = (
    ". /etc/etcd/etcd.env; ETCDCTL_API=3 etcdctl --command-timeout=4s --endpoints=$ETCD_ADVERTISE_CLIENT_URLS"
    " --cacert=$ETCD_TRUSTED_CA_FILE --cert=$ETCD_CERT_FILE --key=$ETCD_KEY_FILE"
)
_LEADS = "docker node inspect self -f '{{.ManagerStatus.Leader}}' | grep -q true"
_EVERY = '"https://$(printf %s "${OVERLAY_STORE#etcd://}" | sed "s|,|,https://|g")"'


@dataclass
class Writer:
    """Writes one key after another to the store, and remembers the acknowledged ones."""

    lab: Lab
    acknowledged: list[int] = field(default_factory=list)
    #: No number is used twice: an older write of the same key would hide that the new one is lost.
    numbers: Iterator[int] = field(default_factory=count)

    def write(self, node: str, number: int) -> None:
        if holds(self.lab, node, f"{_ETCDCTL} {_EVERY} set {PREFIX}/{number} {number} >/dev/null 2>&1"):
            self.acknowledged.append(number)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Write all the time during the block, from each node in turn."""
        ended = threading.Event()

        def work() -> None:
            for number, node in zip(self.numbers, cycle(node.name for node in self.lab.nodes)):
                if ended.is_set():
                    return
                self.write(node, number)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def holds(lab: Lab, name: str, script: str) -> bool:
    """Return whether a script succeeds on a node. On a node that is off every script fails."""
    try:
        return labs.execute(lab.name, name, ["sh", "-c", script], timeout=BACK).returncode == 0
    except Exception:  # the node was switched off meanwhile
        return False


def await_so(lab: Lab, name: str, script: str, seconds: float = BACK) -> None:
    """Wait until a script succeeds on a node, at most for the promised time."""
    deadline = time.monotonic() + seconds
    while not holds(lab, name, script):
        assert time.monotonic() < deadline, f"{name}: not within {seconds} s: {script}"
        time.sleep(0.2)


def await_packets(lab: Lab, seconds: float = BACK) -> None:
    """Wait until the users' containers reach each other by name, both ways, and no container is stopped."""
    names = [node.name for node in lab.nodes]
    for here, there in ((here, there) for here in names for there in names if here != there):
        await_so(lab, here, f"docker exec user-{here} ping -c 1 -W 1 user-{there} >/dev/null 2>&1", seconds)
    for name in names:
        await_so(
            lab, name, 'docker info >/dev/null 2>&1 && [ -z "$(docker ps -a -f status=exited --format {{.Names}})" ]'
        )


def leader(lab: Lab) -> str:
    """Return the name of the manager that leads a swarm."""
    return next(node.name for node in lab.nodes if holds(lab, node.name, _LEADS))


def assert_nothing_lost(lab: Lab, writer: Writer) -> None:
    """Assert that each member has every acknowledged key, and that all have the same. The writer must have stopped.

    A read through the quorum comes first, so that the member's own copy is up to date.
    """
    trees: dict[str, list[str]] = {}
    for node in lab.nodes:
        own = f"https://{node.address}:2379"
        await_so(lab, node.name, f"{_ETCDCTL} {own} ls --quorum / >/dev/null 2>&1")
        trees[node.name] = sorted(run(lab, node.name, f"{_ETCDCTL} {own} ls {PREFIX} 2>/dev/null || true").split())
    wanted = {f"{PREFIX}/{number}" for number in writer.acknowledged}
    for name, tree in trees.items():
        assert not wanted - set(tree), f"{name} lost {sorted(wanted - set(tree))}"
    assert len(set(map(tuple, trees.values()))) == 1, trees


def assert_settled(lab: Lab, fab: Fab) -> None:
    """Assert that a run succeeds, the next one changes and restarts nothing, and no temporary file is left."""
    document(fab(lab, "provision", "--json"))
    before = everything(lab)
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    assert everything(lab) == before
    status = document(fab(lab, "status", "--json"))
    assert [row["health"] for row in status["members"]] == ["healthy"] * min(3, len(lab.nodes))
    assert [row["daemon"] for row in status["nodes"]] == ["on the store"] * len(lab.nodes)
    assert "waiting" not in status
    for node in lab.nodes:
        assert (
            run(lab, node.name, "find /etc /usr/local -xdev -name '*.overlay-provision' -o -xdev -name '*.new'") == ""
        )
