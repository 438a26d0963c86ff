"""The walk, carried out on a provisioned lab; after each step every pair is looked at, from both sides.

By hand, as root: `python tests/lab/walking.py LAB --steps 100 --seed 7`. It says the seed and each step; exit code 1
where a pair stays lost.
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
from walk import FIRST, Step, Walk

from provision import lab as labs
from provision.lab import Lab

#: Seconds that a pair may be lost after a step.
PATIENCE = 5
#: Lines of what is lost that are told.
SHOWN = 6

#: Of each container of the walk that runs on a host: its name, its process, and its address on each network.
_RUNNING = """
docker ps -q -f label=walk | xargs -r docker inspect --format \
    '{{slice .Name 1}} {{.State.Pid}}{{range $name, $one := .NetworkSettings.Networks}} {{$name}}={{$one.IPAddress}}{{end}}'
"""
#: reach PROCESS SOURCE WORD ADDRESS: says how long it took, or that the word led nowhere, in time.
_REACH = f"""
reach() {{
    tries=0
    until seen=$(nsenter -t "$1" -m -n ping -c 1 -W 1 "$3" 2>&1) &&
        case $seen in "PING $3 ($4)"*) ;; *) false ;; esac; do
        tries=$((tries + 1))
        [ "$(date +%s%3N)" -lt "$ends" ] || {{ echo "lost $2 $3 $4 $(echo "$seen" | tail -n 2 | tr -d '\\n' | tail -c 60)"; return; }}
        sleep 0.1
    done
    [ "$tries" = 0 ] || echo "late $2 $3 $(($(date +%s%3N) - began))"
}}
# fetch SOURCE ADDRESS PORT NAME: what a published port answers.
fetch() {{
    until [ "$(timeout 2 bash -c 'exec 3<>/dev/tcp/$0/$1; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3' "$2" "$3" 2>/dev/null |
        tail -n 1)" = "$4" ]; do
        [ "$(date +%s%3N)" -lt "$ends" ] || {{ echo "lost $1 $2:$3 $4 published port"; return; }}
        sleep 0.1
    done
}}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
began=$(date +%s%3N)
"""


@dataclass(frozen=True)
class Running:
    """A container as its host's Docker tells of it."""

    name: str
    node: str
    process: int
    addresses: dict[str, str]


@dataclass
class Walker:
    """Somebody who lives on the lab: takes the steps of a walk, and looks around after each."""

    lab: Lab
    walk: Walk
    patience: int = PATIENCE
    #: Milliseconds that the slowest pair of each step needed, where it was not there at once.
    waits: list[int] = field(default_factory=list)

    def prepare(self) -> None:
        """Make the second network, on hosts without containers of a walk."""
        self.clean()
        self._do(self.walk.nodes[0], walk.make_second())

    def clean(self) -> None:
        """Remove what a walk has made."""
        for node in self.walk.nodes:
            self._do(node, "docker ps -aq -f label=walk | xargs -r docker rm -f")
        self._do(self.walk.nodes[0], f"! docker network inspect {walk.SECOND} || docker network rm {walk.SECOND}")

    def take(self, step: Step) -> None:
        """Do what the step says, script by script."""
        for node, script in step.scripts:
            self._do(node, script)

    def lost(self, patience: int | None = None) -> list[str]:
        """Look from every running container at all others, and at the published ports from every host."""
        running = self.running()
        with ThreadPoolExecutor(len(self.walk.nodes)) as pool:
            told = pool.map(lambda node: self._look(node, running, patience or self.patience), self.walk.nodes)
            lines = [line for lines in told for line in lines]
        if late := [int(line.split()[-1]) for line in lines if line.startswith("late")]:
            self.waits.append(max(late))
        expected = {name for name, place in self.walk.places.items() if place.running}
        down = [f"lost {name}, which does not run" for name in sorted(expected - {one.name for one in running})]
        return [*down, *(line for line in lines if line.startswith("lost"))]

    def running(self) -> list[Running]:
        """Return the walk's containers that run, host by host."""
        with ThreadPoolExecutor(len(self.walk.nodes)) as pool:
            told = zip(self.walk.nodes, pool.map(lambda node: self._do(node, _RUNNING), self.walk.nodes), strict=True)
            return [one for node, text in told for one in _read(node, text)]

    def _look(self, node: str, running: Sequence[Running], patience: int) -> list[str]:
        calls = [*self._reaches(node, running), *self._fetches(node, running)]
        ends = f"ends=$((began + {patience} * 1000))"
        script = "\n".join([_REACH, ends, *(f"{shlex.join(call)} &" for call in calls), "wait"])
        return self._do(node, script, timeout=patience + 60).splitlines()

    def _reaches(self, node: str, running: Sequence[Running]) -> Iterator[list[str]]:
        aliases = {one.name: one.alias for one in self.walk.traits}
        for source in (one for one in running if one.node == node):
            for target in (one for one in running if one.name != source.name):
                shared = [network for network in source.addresses if network in target.addresses]
                for network in shared:
                    address = target.addresses[network]
                    yield ["reach", str(source.process), source.name, address, address]
                if FIRST in shared:
                    for word in filter(None, (target.name, aliases[target.name])):
                        # On two networks either address is the right one.
                        yield ["reach", str(source.process), source.name, f"{word}.{FIRST}", target.addresses[FIRST]]

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
    """Return who walks on a provisioned lab."""
    nodes = [node.name for node in lab.nodes]
    inspect = "docker network inspect demo --format '{{(index .IPAM.Config 0).Subnet}}'"
    subnet = labs.execute(lab.name, nodes[0], ["sh", "-c", inspect]).stdout.strip()
    return Walker(lab, Walk(Random(seed), nodes, IPv4Network(subnet), walk.cast(names)))


def go(who: Walker, steps: int) -> Iterator[tuple[int, Step, list[str]]]:
    """Walk; yield each step's number, the step, and what is lost after it."""
    for number in range(1, steps + 1):
        step = who.walk.draw()
        who.take(step)
        yield number, step, who.lost()


def _some(lost: list[str]) -> list[str]:
    """Return a few lines, and how many more there are."""
    return lost if len(lost) <= SHOWN else [*lost[:SHOWN], f"and {len(lost) - SHOWN} more"]


def main() -> int:
    """Walk as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lab")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    who = walker(labs.find(arguments.lab), arguments.seed)
    who.prepare()
    bad = 0
    for number, step, lost in go(who, arguments.steps):
        print(f"{time.strftime('%X')} {number} {step}", *_some(lost), sep="\n    ", flush=True)
        bad += bool(lost)
    print(f"{bad} of {arguments.steps} steps lost a pair for longer than {PATIENCE} s; slowest {max(who.waits, default=0)} ms")
    if not bad:
        who.clean()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
