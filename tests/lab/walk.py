"""A random walk of ordinary life: random steps of a few containers on a few hosts. No I/O.

A container keeps its traits at every step: a fixed address or one that Docker chooses, an alias, a published port, a
second network. Half of the containers have a fixed address. A step is a script for each host that it concerns.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from random import Random

FIRST, SECOND = "demo", "walk-second"
SECOND_SUBNET = IPv4Network("10.97.0.0/24")
#: The last part of the first fixed address, far from the addresses that Docker chooses.
FIXED_FROM = 200
#: The first published port.
PORTS_FROM = 18000
IMAGE = "busybox"


@dataclass(frozen=True)
class Traits:
    """The properties of a container that do not depend on where it runs."""

    name: str
    number: int
    fixed: bool
    aliased: bool
    published: bool
    twofold: bool

    @property
    def alias(self) -> str:
        """The container's alias on the first network; empty if it has none."""
        return f"{self.name}-alias" if self.aliased else ""

    @property
    def port(self) -> int:
        """The container's published port; 0 if it has none."""
        return PORTS_FROM + self.number if self.published else 0


def cast(names: int = 8) -> tuple[Traits, ...]:
    """Return the containers of a walk. Half have a fixed address; some have an alias, a port, or two networks."""
    half = names // 2
    return tuple(
        Traits(f"walk-{chr(ord('a') + n)}", n, n < half, n % half == 1, n % half == 2, n % half == 3)
        for n in range(names)
    )


@dataclass(frozen=True)
class Place:
    """A container's host, whether it runs, and whether it is on the second network."""

    node: str
    running: bool = True
    second: bool = False


@dataclass(frozen=True)
class Step:
    """One action: a verb, the container, the host, and the scripts with the host of each."""

    verb: str
    name: str
    node: str
    scripts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return the step as it is printed."""
        return f"{self.verb} {self.name} on {self.node}"


@dataclass
class Walk:
    """The state of a walk: where each container is. `draw` changes it at random."""

    chance: Random
    nodes: Sequence[str]
    subnet: IPv4Network
    traits: Sequence[Traits] = field(default_factory=cast)
    places: dict[str, Place] = field(default_factory=dict)

    def draw(self) -> Step:
        """Return a random next step, and update the state as if it were done."""
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
        """Return a step that removes the second network, creates it again, and connects its containers again."""
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
    """Return the script that creates the second network."""
    return f"docker network create -d overlay --subnet {SECOND_SUBNET} {SECOND}"


def start(one: Traits, subnet: IPv4Network) -> str:
    """Return the script that starts a new container."""
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
