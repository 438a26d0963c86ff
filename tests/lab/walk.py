"""A random walk of ordinary life: what happens to a few containers on a few hosts, drawn step by step. No I/O.

A container keeps its traits whatever happens to it: a fixed address or Docker's choice, an alias, a published port, a
second network. Half of them have a fixed address. What a step does is a script for one host.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from random import Random

FIRST, SECOND = "demo", "walk-second"
SECOND_SUBNET = IPv4Network("10.97.0.0/24")
#: The last part of the first fixed address, far from those that Docker chooses.
FIXED_FROM = 200
#: The first port that is published on a host.
PORTS_FROM = 18000
IMAGE = "busybox"


@dataclass(frozen=True)
class Traits:
    """What a container is, wherever it runs."""

    name: str
    number: int
    fixed: bool
    aliased: bool
    published: bool
    twofold: bool

    @property
    def alias(self) -> str:
        """The other name on the first network, if it has one."""
        return f"{self.name}-alias" if self.aliased else ""

    @property
    def port(self) -> int:
        """The host's port that leads to it, if one does."""
        return PORTS_FROM + self.number if self.published else 0


def cast(names: int = 8) -> tuple[Traits, ...]:
    """Return the containers of a walk: half of them have a fixed address, some an alias, a port, two networks."""
    half = names // 2
    return tuple(
        Traits(f"walk-{chr(ord('a') + n)}", n, n < half, n % half == 1, n % half == 2, n % half == 3)
        for n in range(names)
    )


@dataclass(frozen=True)
class Place:
    """Where a container is, and whether it runs there and is on the second network."""

    node: str
    running: bool = True
    second: bool = False


@dataclass(frozen=True)
class Step:
    """One thing that somebody does: a verb, the container, the host, and the script that does it there."""

    verb: str
    name: str
    node: str
    scripts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """As it is told."""
        return f"{self.verb} {self.name} on {self.node}"


@dataclass
class Walk:
    """The walk so far: where each container is. `draw` changes that, by chance."""

    chance: Random
    nodes: Sequence[str]
    subnet: IPv4Network
    traits: Sequence[Traits] = field(default_factory=cast)
    places: dict[str, Place] = field(default_factory=dict)

    def draw(self) -> Step:
        """Return the next step, and count it as done."""
        one = self.chance.choice(self.traits)
        place = self.places.get(one.name)
        if place is None:
            return self._run("run", one, self.chance.choice(self.nodes))
        verb = self.chance.choice(_VERBS[place.running])
        if verb == "move":
            node = self.chance.choice([node for node in self.nodes if node != place.node] or list(self.nodes))
            return self._run(verb, one, node, leaves=place.node)
        if verb == "renew":
            return self._renew()
        if verb in ("connect", "disconnect"):
            verb = "disconnect" if place.second else "connect"
        self._count(one.name, verb, place)
        return Step(verb, one.name, place.node, ((place.node, _DO[verb].format(name=one.name, second=SECOND)),))

    def _count(self, name: str, verb: str, place: Place) -> None:
        if verb == "remove":
            del self.places[name]
        elif verb in ("stop", "start"):
            self.places[name] = replace(place, running=verb == "start")
        elif verb in ("connect", "disconnect"):
            self.places[name] = replace(place, second=verb == "connect")

    def _run(self, verb: str, one: Traits, node: str, leaves: str = "") -> Step:
        self.places[one.name] = Place(node, second=one.twofold)
        away = ((leaves, f"docker rm -f {one.name}"),) if leaves else ()
        return Step(verb, one.name, node, (*away, (node, start(one, self.subnet))))

    def _renew(self) -> Step:
        """The second network is removed and made again under its name; whoever was on it is on it again."""
        on_it = [(place.node, name) for name, place in sorted(self.places.items()) if place.second]
        first = self.nodes[0]
        return Step(
            "renew",
            SECOND,
            first,
            (
                *((node, f"docker network disconnect {SECOND} {name}") for node, name in on_it),
                (first, f"docker network rm {SECOND}"),
                (first, make_second()),
                *((node, f"docker network connect {SECOND} {name}") for node, name in on_it),
            ),
        )


_VERBS: Mapping[bool, Sequence[str]] = {
    True: ("stop", "restart", "remove", "move", "move", "connect", "restart", "renew"),
    False: ("start", "start", "remove", "move"),
}
_DO = {
    "stop": "docker stop {name}",
    "start": "docker start {name}",
    "restart": "docker restart {name}",
    "remove": "docker rm -f {name}",
    "connect": "docker network connect {second} {name}",
    "disconnect": "docker network disconnect {second} {name}",
}


def make_second() -> str:
    """Return the script that makes the second network."""
    return f"docker network create -d overlay --subnet {SECOND_SUBNET} {SECOND}"


def start(one: Traits, subnet: IPv4Network) -> str:
    """Return the script that runs a container anew."""
    words = ["docker", "run", "-d", "--name", one.name, "--network", FIRST]
    words += ["--restart", "unless-stopped", "--stop-signal", "KILL", "--label", "walk"]
    if one.fixed:
        words += ["--ip", str(subnet[FIXED_FROM + one.number])]
    if one.alias:
        words += ["--network-alias", one.alias]
    if one.port:
        words += ["-p", f"{one.port}:80"]
    serve = f"mkdir -p /www && echo {one.name} >/www/index.html && exec httpd -f -p 80 -h /www"
    script = shlex.join([*words, IMAGE, "sh", "-c", serve])
    return f"{script} && docker network connect {SECOND} {one.name}" if one.twofold else script
