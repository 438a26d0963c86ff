"""Faults drawn at random, one after another for some time, while keys are written and containers ping each other.

`--minutes` says how long, `--seed` what they are drawn from; both are told in the record.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest
from conftest import Back, Fab
from invariants import assert_settled, await_packets, holds
from runs import begin

from provision import lab as labs
from provision.lab import Lab


class Faults:
    """What can happen to two hosts, or to who provisions them. None waits until all is well again."""

    def __init__(self, lab: Lab, chance: Random) -> None:
        self.lab, self.chance = lab, chance

    @property
    def some_node(self) -> str:
        return self.chance.choice([node.name for node in self.lab.nodes])

    def etcd_killed(self) -> None:
        holds(self.lab, self.some_node, "kill -9 $(pidof etcd)")

    def dockerd_killed(self) -> None:
        holds(self.lab, self.some_node, "kill -9 $(pidof dockerd)")

    def etcd_frozen(self) -> None:
        seconds = self.chance.uniform(1, 8)
        holds(self.lab, self.some_node, f"kill -STOP $(pidof etcd); sleep {seconds}; kill -CONT $(pidof etcd)")

    def restarted(self) -> None:
        unit = self.chance.choice(["etcd", "docker"])
        holds(self.lab, self.some_node, f"systemctl restart {unit}")

    def link_cut(self) -> None:
        node, seconds = self.some_node, self.chance.uniform(0.5, 12)
        labs.cut_link(self.lab.name, node)
        time.sleep(seconds)
        labs.heal_link(self.lab.name, node)

    def power_cut(self) -> None:
        nodes = self.chance.choice([["node1"], ["node2"], ["node1", "node2"]])
        seconds = self.chance.uniform(0, 6)
        for node in nodes:
            labs.power_cut(self.lab.name, node)
        time.sleep(seconds)
        for node in nodes:
            labs.power_on(self.lab.name, node)

    def provision_killed(self) -> None:
        """While it mends what was removed by hand."""
        seconds = self.chance.uniform(0.5, 6)
        holds(self.lab, self.some_node, "docker rm -f $(docker ps -aq -f label=overlay-keeper)")
        with begin(self.lab, "provision") as process:
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGKILL)

    @property
    def all(self) -> tuple[Callable[[], None], ...]:
        return (
            self.etcd_killed,
            self.dockerd_killed,
            self.etcd_frozen,
            self.restarted,
            self.link_cut,
            self.power_cut,
            self.provision_killed,
        )


@contextmanager
def pinging(lab: Lab) -> Iterator[list[bool]]:
    """A container pings the other host's all the time; whether each ping came back."""
    came: list[bool] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            came.append(holds(lab, "node1", "docker exec user-node1 ping -c 1 -W 1 user-node2 >/dev/null 2>&1"))
            ended.wait(0.5)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield came
    finally:
        ended.set()
        thread.join()


def test_55_90_faults_drawn_at_random(cluster: Lab, fab: Fab, back: Back, request: pytest.FixtureRequest) -> None:
    minutes = request.config.getoption("--minutes")
    seed = request.config.getoption("--seed") or int(time.time())
    request.node.user_properties.append(("told", f"for {minutes:g} minutes, seed {seed}"))
    print(f"--minutes {minutes:g} --seed {seed}")
    faults, made = Faults(cluster, Random(seed)), 0
    until = time.monotonic() + 60 * minutes
    with pinging(cluster) as came:
        while time.monotonic() < until:
            time.sleep(faults.chance.uniform(0, 4))
            fault = faults.chance.choice(faults.all)
            print(f"{time.strftime('%X')} {fault.__name__}", flush=True)
            fault()
            made += 1
        back()
    await_packets(cluster)
    assert_settled(cluster, fab)
    print(f"{made} faults, {sum(came)} of {len(came)} pings came back")
