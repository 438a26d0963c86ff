"""Run `fab`, and do something before or after one of its steps on a node, on the controller or in the cluster.

    python interposed.py STEP before|after DEED VERB...

STEP is named as in errors: `node1: phase etcd`, `node2: sending /var/lib/overlay-provision/etcd.tar.gz`. DEED is `die`,
which is SIGKILL, or a command for this machine's shell. Exit code 99: the run never reached the step.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from provision.core.phase import Phase
from provision.migration.phases import SameNetworks
from provision.phases.departure import Departure
from provision.phases.networks import Networks
from provision.planes.etcd import pki
from provision.planes.etcd.phases.members import Removal
from provision.planes.etcd.phases.recovery import FirstNetwork, Freed
from provision.planes.etcd.restoring import Keys
from provision.planes.swarm.phases.leave import Removal as SwarmRemoval
from provision.planes.swarm.phases.recover import Alone
from provision.planes.swarm.phases.recover import SameNetworks as Same
from provision.planes.swarm.phases.swarm import Swarm
from provision.remote import Remote

NEVER = 99


def main(step: str, when: str, deed: str, *words: str) -> None:
    came: list[str] = []

    def do() -> None:
        came.append(step)
        if deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        subprocess.run(deed, shell=True, check=True, stdin=subprocess.DEVNULL)  # noqa: S602 (a test's own)

    @contextmanager
    def around(name: str) -> Iterator[None]:
        if name == step and when == "before":
            do()
        yield
        if name == step and when == "after":
            do()

    run, push, make, shut_out = Remote.run, Remote.push, pki.make, pki.shut_out
    of_swarm = (Swarm, SwarmRemoval, Alone, Same)
    kinds = (Networks, Removal, Departure, SameNetworks, FirstNetwork, Freed, Keys, *of_swarm)
    change = {kind: kind.change_cluster for kind in kinds}

    def interposed_run(self: Remote, script: str, **options: Any) -> Any:
        with around(f"{self.node.name}: {options.get('what')}"):
            return run(self, script, **options)

    def interposed_push(self: Remote, data: Any, path: str, **options: Any) -> None:
        with around(f"{self.node.name}: sending {path}"):
            push(self, data, path, **options)

    def interposed_change(self: Phase, *arguments: Any) -> Any:
        with around(f"cluster: phase {self.name}"):
            return next(found for kind, found in change.items() if isinstance(self, kind))(self, *arguments)

    def interposed_make(*arguments: Any, **options: Any) -> Any:
        with around("controller: phase pki"):
            return make(*arguments, **options)

    def interposed_shut_out(*arguments: Any, **options: Any) -> Any:
        with around("controller: phase shut-out"):
            return shut_out(*arguments, **options)

    Remote.run, Remote.push, pki.make = interposed_run, interposed_push, interposed_make
    pki.shut_out = interposed_shut_out
    for kind in change:
        kind.change_cluster = interposed_change  # type: ignore[method-assign]
    # Fabric's program ends with os._exit: the exit code is replaced there if the step was not reached.
    leave: Callable[[int], Any] = os._exit
    os._exit = lambda code: leave(code if came else NEVER)

    from fabric.main import program

    program.run(["fab", *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
