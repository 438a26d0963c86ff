"""Carry out a walk on a provisioned lab. After each step every pair of containers is tested, in both directions.

By hand, as root: `python tests/lab/walking.py LAB --steps 100 --seed 7`; with `--faults` there are faults between the
steps. Prints the seed and each step. Exit code 1 if a pair stays lost.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from random import Random

import walk
from faults import Faults
from invariants import BACK
from walk import FIRST, Step, Walk

from provision import lab as labs
from provision.errors import ProvisionError
from provision.lab import Lab

#: Seconds for which a pair may be lost after a step.
PATIENCE = 5
#: Seconds in which a refused command is tried again. The walk prints at its end how many commands were refused.
REFUSED_FOR = 30
#: The number of lost pairs that are printed.
SHOWN = 12
#: The average number of steps between two faults.
FAULT_EVERY = 4

#: For each container of the walk that runs on a host, print its name, its PID, and its address on each network.
_RUNNING = """
docker ps -q -f label=walk | xargs -r docker inspect --format \
    '{{slice .Name 1}} {{.State.Pid}}{{range $on, $one := .NetworkSettings.Networks}} {{$on}}={{$one.IPAddress}}{{end}}'
"""
#: reach PROCESS SOURCE WORD ADDRESS: ping a name or address, which must lead to ADDRESS; print if it was late or lost.
#: fetch SOURCE ADDRESS PORT NAME: get the page at a published port; print if it is not that of the container NAME.
_LOOK = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
began=$(date +%s%3N)
until_it_is_time() {
    [ "$(date +%s%3N)" -lt "$((began + patience * 1000))" ] && sleep 0.1
}
reach() {
    late=
    until seen=$(nsenter -t "$1" -m -n ping -c 1 -W 1 "$3" 2>&1) &&
        case $seen in "PING $3 ($4)"*) ;; *) false ;; esac; do
        late=yes
        until_it_is_time || { echo "lost $2 $3 $4: $(echo "$seen" | tail -n 2 | tr '\\n' ' ' | tail -c 60)"; return; }
    done
    [ -z "$late" ] || echo "late $2 $3 $(($(date +%s%3N) - began))"
}
ask='exec 3<>/dev/tcp/$0/$1; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3'
fetch() {
    until [ "$(timeout 2 bash -c "$ask" "$2" "$3" 2>/dev/null | tail -n 1)" = "$4" ]; do
        until_it_is_time || { echo "lost $1 $2:$3, the published port of $4"; return; }
    done
}
"""


@dataclass(frozen=True)
class Running:
    """A running container, from its host's Docker."""

    name: str
    node: str
    process: int
    addresses: dict[str, str]


@dataclass
class Walker:
    """Takes the steps of a walk on a lab, and tests all pairs after each."""

    lab: Lab
    walk: Walk
    patience: int = PATIENCE
    #: The milliseconds of each step's slowest pair, if the pair was not connected at once.
    waits: list[int] = field(default_factory=list)
    #: The error messages of commands that were refused at first.
    refused: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        """Remove what an earlier walk left, and create the second network."""
        self.clean()
        self._do(self.walk.nodes[0], walk.make_second())

    def clean(self) -> None:
        """Remove the containers and the second network of a walk."""
        for node in self.walk.nodes:
            self._do(node, "docker ps -aq -f label=walk | xargs -r docker rm -f")
        self._do(self.walk.nodes[0], f"! docker network inspect {walk.SECOND} || docker network rm {walk.SECOND}")

    def take(self, step: Step, patience: float = 0) -> None:
        """Run the step's scripts. A refused command is tried again for `patience` seconds, as a person would do."""
        deadline = time.monotonic() + patience
        for node, script in step.scripts:
            while True:
                try:
                    self._do(node, script)
                    break
                except RuntimeError as error:
                    if time.monotonic() > deadline:
                        raise  # the error message contains the script
                    self.refused.append(str(error))
                    time.sleep(1)
                    if script.startswith("docker run"):
                        self._do(node, f"docker rm -f {step.name}")

    def still_lost(self, seconds: float) -> list[str]:
        """Test all pairs until none is lost, for these seconds at most. Return what is lost at the end."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                lost = self.lost(1)
            except (RuntimeError, ProvisionError) as error:  # a host or its Docker is not up yet
                lost = [f"lost {error}"]
            if not lost or time.monotonic() > deadline:
                return lost

    def lost(self, patience: int | None = None) -> list[str]:
        """Ping from every running container to all others, and fetch the published ports from every host."""
        running = self.running()
        with ThreadPoolExecutor(len(self.walk.nodes)) as pool:
            told = pool.map(lambda node: self._look(node, running, patience or self.patience), self.walk.nodes)
            lines = [line for lines in told for line in lines]
        late = {line: int(line.split()[-1]) for line in lines if line.startswith("late")}
        self.waits += [max(late.values())] if late else []
        lines += [
            f"lost for too long: {line}" for line, took in late.items() if took > (patience or self.patience) * 1000
        ]
        expected = {name for name, place in self.walk.places.items() if place.running}
        down = [f"lost {name}, which does not run" for name in sorted(expected - {one.name for one in running})]
        off = [f"lost {one.name}, which is not on {walk.SECOND}" for one in running if self._is_off(one)]
        return [*down, *off, *(line for line in lines if line.startswith("lost"))]

    def _is_off(self, one: Running) -> bool:
        """Return whether a container lacks its address on the second network: no ping would find that out."""
        place = self.walk.places.get(one.name)
        return bool(place and place.second and not one.addresses.get(walk.SECOND))

    def running(self) -> list[Running]:
        """Return the walk's running containers, host by host."""
        with ThreadPoolExecutor(len(self.walk.nodes)) as pool:
            told = zip(self.walk.nodes, pool.map(lambda node: self._do(node, _RUNNING), self.walk.nodes), strict=True)
            return [one for node, text in told for one in _read(node, text)]

    def _look(self, node: str, running: Sequence[Running], patience: int) -> list[str]:
        calls = [*self._reaches(node, running), *self._fetches(node, running)]
        script = "\n".join([f"patience={patience}", _LOOK, *(f"{shlex.join(call)} &" for call in calls), "wait"])
        return self._do(node, script, timeout=patience + 60).splitlines()

    def _reaches(self, node: str, running: Sequence[Running]) -> Iterator[list[str]]:
        aliases = {one.name: one.alias for one in self.walk.traits}
        for source in (one for one in running if one.node == node):
            for target in (one for one in running if one.name != source.name):
                shared = [network for network in source.addresses if network in target.addresses]
                for network in shared:
                    address = target.addresses[network]
                    yield ["reach", str(source.process), source.name, address, address]
                    names = [target.name, aliases[target.name] if network == FIRST else ""]
                    for word in filter(None, names):
                        # A name without its network may mean either of two addresses.
                        yield ["reach", str(source.process), source.name, f"{word}.{network}", address]

    def _fetches(self, node: str, running: Sequence[Running]) -> Iterator[list[str]]:
        ports = {one.name: one.port for one in self.walk.traits}
        hosts = {one.name: one.address for one in self.lab.nodes}
        for one in running:
            if ports[one.name]:
                yield ["fetch", node, hosts[one.node], str(ports[one.name]), one.name]

    def _do(self, node: str, script: str, timeout: float = 120) -> str:
        done = labs.execute(self.lab.name, node, ["sh", "-c", script], timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{node}: {script[-300:]}: {done.stderr.strip()[-600:]}")
        return done.stdout


def _read(node: str, text: str) -> Iterable[Running]:
    for line in text.splitlines():
        name, process, *networks = line.split()
        pairs = (word.partition("=") for word in networks)
        yield Running(name, node, int(process), {network: address for network, _, address in pairs})


def walker(lab: Lab, seed: int, names: int = 8) -> Walker:
    """Return a walker on a provisioned lab."""
    nodes = [node.name for node in lab.nodes]
    inspect = "docker network inspect demo --format '{{(index .IPAM.Config 0).Subnet}}'"
    subnet = labs.execute(lab.name, nodes[0], ["sh", "-c", inspect]).stdout.strip()
    return Walker(lab, Walk(Random(seed), nodes, IPv4Network(subnet), walk.cast(names)))


@dataclass(frozen=True)
class Taken:
    """A step that was taken, and what was lost after it for too long."""

    number: int
    what: str
    lost: list[str]

    def __str__(self) -> str:
        """Return a line for the step, and lines for the first of what is lost."""
        more = [f"and {len(self.lost) - SHOWN} more"] if len(self.lost) > SHOWN else []
        return "\n    ".join([f"{time.strftime('%X')} {self.number} {self.what}", *self.lost[:SHOWN], *more])


def go(who: Walker, steps: int) -> Iterator[Taken]:
    """Take steps, and yield each with what was lost after it."""
    for number in range(1, steps + 1):
        step = who.walk.draw()
        who.take(step, patience=REFUSED_FOR)
        yield Taken(number, str(step), who.lost())


def go_through_faults(who: Walker, steps: int) -> Iterator[Taken]:
    """Take steps, with a fault before about every fourth one. After a fault the promised time is allowed."""
    faults = Faults(who.lab, who.walk.chance)
    for number in range(1, steps + 1):
        if who.walk.chance.random() < 1 / FAULT_EVERY:
            fault = who.walk.chance.choice(faults.of_machines)
            fault()
            yield Taken(number, fault.__name__, who.still_lost(BACK))
        step = who.walk.draw()
        who.take(step, patience=BACK)
        yield Taken(number, str(step), who.still_lost(BACK))


def main() -> int:
    """Run a walk with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lab")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    who = walker(labs.find(arguments.lab), arguments.seed)
    who.prepare()
    bad = 0
    for taken in (go_through_faults if arguments.faults else go)(who, arguments.steps):
        print(taken, flush=True)
        bad += bool(taken.lost)
    slowest = f"the slowest pair took {max(who.waits, default=0)} ms"
    print(f"{bad} times a pair was lost for too long; {slowest}; {len(who.refused)} commands were refused at first")
    if not bad:
        who.clean()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
