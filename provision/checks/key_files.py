"""Files with private keys on a node: who can read them, and whether one is a key that must not be there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from provision import layout
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node

SOCKET = "/run/docker.sock"
#: The folders in which a copy of an authority's key is likely: configuration, homes, temporary files.
PLACES = (
    *("/etc", "/usr/local", "/root", "/home", layout.STATE),
    *("/run", "/run/user/*", "/tmp", "/var/tmp", "/dev/shm"),  # noqa: S108  read, not written
)
#: Seconds that the search may take. Homes may be large: 50,000 small files took 2.5 s.
SEARCH_SECONDS = 300

#: A mode, and an owner with its group.
Permissions = tuple[int, str]


@dataclass(frozen=True)
class Held:
    """A file, folder or socket on a node."""

    kind: str
    mode: int
    owner: str
    path: str

    def __str__(self) -> str:
        """As a person reads it: `/run/docker.sock: 660 root:docker`."""
        return f"{self.path}: {self.mode:o} {self.owner}"


@dataclass(frozen=True)
class Rules:
    """The permissions on a node. `must`: of everything that has to be there, by path. `never`: what must not be there.

    `key`: from the path of any other key to its permissions. `certificate`: a certificate's largest mode.
    """

    must: Mapping[str, Permissions]
    key: Callable[[str], Permissions]
    certificate: int
    never: frozenset[str] = frozenset()

    @property
    def keys(self) -> list[str]:
        """The paths of the keys that must be there."""
        return [path for path in self.must if path.endswith(".key")]

    def _allowed(self, one: Held) -> Permissions:
        return self.must.get(one.path) or self.key(one.path)

    def is_kept(self, one: Held) -> bool:
        """Return whether a file is open to nobody beyond those who may read it."""
        if one.kind == "certificate":
            return one.mode | self.certificate == self.certificate
        return one.kind == "other" or (one.mode, one.owner) == self._allowed(one)

    def permitted(self, one: Held) -> str:
        """Return what a file's permissions may be, as a person reads them."""
        if one.kind == "certificate":
            return f"at most {self.certificate:o}"
        mode, owner = self._allowed(one)
        return f"{mode:o} {owner}"


def read(told: str) -> Iterator[Held]:
    """Yield the files that a node described."""
    for line in told.splitlines():
        kind, mode, owner, path = line.split("\t", 3)
        yield Held(kind, int(mode, 8), owner, path)


def judged(node: Node, held: Iterable[Held], rules: Rules, advice: str) -> Outcome:
    """Return an outcome that names what is missing, what must not be there, and what is open wider than it may be."""
    seen = list(held)
    there = {one.path for one in seen}
    missing = [f"{path} is not there" for path in rules.must if path not in there]
    surplus = [f"{path} is there" for path in sorted(rules.never & there)]
    wrong = [
        f"{one}, not {rules.permitted(one)}" for one in seen if one.path not in rules.never and not rules.is_kept(one)
    ]
    if missing or surplus or wrong:
        return failed(node.name, "; ".join(missing + surplus + wrong), advice)
    keys = [one for one in seen if one.kind == "key"]
    modes = " and ".join(sorted({f"{one.mode:o}" for one in keys}))
    certificates = sum(one.kind == "certificate" for one in seen)
    rest = ", ".join(str(one) for one in seen if one.kind in ("folder", "socket"))
    told = f"{len(keys)} keys {modes}, {certificates} certificates at most {rules.certificate:o}; {rest}"
    return passed(node.name, told)


def judged_copies(node: Node, told: str, authorities: Mapping[str, str], own: Collection[str], advice: str) -> Outcome:
    """Return an outcome that names the files with an authority's key.

    `told`: the output of `find_private_keys`. `authorities`: their names, by their public keys in hex. `own`: the files
    with the node's own keys, which the search must find.
    """
    found = {path: points.split() for points, _, path in (line.partition("\t") for line in told.splitlines())}
    leaks = [
        f"{path} holds the key of the authority {' and '.join(sorted({authorities[point] for point in points}))}"
        for path, points in found.items()
        if points
    ]
    if leaks:
        return failed(node.name, "; ".join(leaks), advice)
    if not found.keys() >= set(own):
        return failed(node.name, "nothing is proven: the search did not find the node's own keys", "fab plan")
    searched = f"{len(found)} files with a private key, none of an authority"
    return passed(node.name, f"{searched} ({', '.join(authorities.values())})")
