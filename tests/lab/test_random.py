"""Random faults, one after another for some time, while keys are written and containers ping each other.

`--minutes` says how long, `--seed` what they are drawn from; both are told in the record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from conftest import Back, Fab
from faults import Faults
from invariants import assert_settled, await_packets, holds

from provision.lab import Lab


@contextmanager
def pinging(lab: Lab) -> Iterator[list[bool]]:
    """Ping from one host's container to the other's all the time, and record whether each ping was answered."""
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


@pytest.mark.whole
def test_55_90_faults_drawn_at_random(cluster: Lab, fab: Fab, back: Back, request: pytest.FixtureRequest) -> None:
    minutes = request.config.getoption("--minutes")
    seed = request.config.getoption("--seed")
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
