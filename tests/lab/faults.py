"""Faults of hosts, and of the controller during a run: one daemon killed; random ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from random import Random

from invariants import await_so, holds
from observe import run
from runs import begin

from provision import lab as labs
from provision.lab import Lab


def killed(lab: Lab, name: str, program: str) -> None:
    """Kill a daemon with SIGKILL; return when its new process runs."""
    before = run(lab, name, f"pidof {program}").strip()
    run(lab, name, f"kill -9 {before}")
    await_so(lab, name, f'now=$(pidof {program}) && [ "$now" != {before} ]')


class Faults:
    """The faults. No method waits until the cluster has recovered."""

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
        names = [node.name for node in self.lab.nodes]
        nodes = self.chance.choice([*([name] for name in names), names])
        seconds = self.chance.uniform(0, 6)
        for node in nodes:
            labs.power_cut(self.lab.name, node)
        time.sleep(seconds)
        for node in nodes:
            labs.power_on(self.lab.name, node)

    def provision_killed(self) -> None:
        """Kill a run while it restores keepers that were removed by hand."""
        seconds = self.chance.uniform(0.5, 6)
        holds(self.lab, self.some_node, "docker rm -f $(docker ps -aq -f label=overlay-keeper)")
        with begin(self.lab, "provision") as process:
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGKILL)

    @property
    def of_machines(self) -> tuple[Callable[[], None], ...]:
        """The faults of power, links and daemons."""
        return (self.etcd_killed, self.dockerd_killed, self.restarted, self.link_cut, self.power_cut)

    @property
    def all(self) -> tuple[Callable[[], None], ...]:
        """All faults."""
        return (*self.of_machines, self.etcd_frozen, self.provision_killed)
