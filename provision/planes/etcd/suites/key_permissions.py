"""Private keys, data and sockets: who can read them, and whether a copy of a key is where it must not be."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from provision import layout
from provision.checks.scratch import Scratch, on_each_node
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node
from provision.node import library
from provision.pki import certificates
from provision.planes.etcd import paths
from provision.planes.etcd.coordinator import opened

SOCKET = "/run/docker.sock"
STORE_DATA = f"{paths.DATA}/data"
#: The folders in which a copy of an authority's key is likely: configuration, homes, temporary files.
PLACES = (
    *("/etc", "/usr/local", "/root", "/home", layout.STATE, paths.DATA),
    *("/run", "/run/user/*", "/tmp", "/var/tmp", "/dev/shm"),  # noqa: S108  read, not written
)
#: Seconds that the search may take. Homes may be large: 50,000 small files took 2.5 s.
SEARCH_SECONDS = 300
#: The line that a node prints after it has read its daemons' journals.
_JOURNAL = "read journal"
#: The daemons whose journals are searched.
UNITS = ("etcd", "docker", "overlay-join", "overlay-mend")
#: The largest mode of a certificate: everybody may read it.
CERTIFICATE_MODE = 0o444


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


@check("security")
@on_each_node
def keys_and_data_are_closed(made: Scratch) -> Outcome:
    """Private keys and data are open to their daemon alone, Docker's socket to its group, certificates for reading."""
    folders = (paths.DOCKER_PKI, *((paths.ETCD_PKI,) if made.node.member else ()))
    script = f"""{library("private_keys")}
        describe_key_files {shlex.join(folders)}
        describe_paths folder {shlex.join((paths.DATA, STORE_DATA) if made.node.member else ())}
        describe_paths socket {SOCKET}
    """
    return judged(made.node, list(read(made.remote().run(script, what="reading the permissions of keys").stdout)))


def read(told: str) -> Iterator[Held]:
    """Yield the files that a node described."""
    for line in told.splitlines():
        kind, mode, owner, path = line.split("\t", 3)
        yield Held(kind, int(mode, 8), owner, path)


def wanted(node: Node) -> dict[str, tuple[int, str]]:
    """Return the mode and owner of everything that must be on a node, by path."""
    docker = dict.fromkeys((f"{paths.DOCKER_PKI}/server.key", f"{paths.DOCKER_PKI}/store.key"), (0o400, "root:root"))
    socket = {SOCKET: (0o660, "root:docker")}
    if not node.member:
        return docker | socket
    owner = f"{paths.USER}:{paths.USER}"
    etcd = dict.fromkeys((f"{paths.ETCD_PKI}/peer.key", f"{paths.ETCD_PKI}/server.key"), (0o400, owner))
    return etcd | docker | dict.fromkeys((paths.DATA, STORE_DATA), (0o700, owner)) | socket


def judged(node: Node, held: Iterable[Held]) -> Outcome:
    """Return an outcome that names what is missing, and what has wider permissions than it may have."""
    seen = list(held)
    must = wanted(node)
    missing = [f"{path} is not there" for path in must if path not in {one.path for one in seen}]
    wrong = [f"{one}, not {_rule(node, one)}" for one in seen if not _is_closed(node, one)]
    if missing or wrong:
        advice = "fab provision corrects its own files; remove what you copied there"
        return failed(node.name, "; ".join(missing + wrong), advice)
    counts = {kind: sum(one.kind == kind for one in seen) for kind in ("key", "certificate")}
    rest = ", ".join(str(one) for one in seen if one.kind in ("folder", "socket"))
    return passed(node.name, f"{counts['key']} keys 400, {counts['certificate']} certificates at most 444; {rest}")


def _allowed(node: Node, one: Held) -> tuple[int, str]:
    """Return the mode and owner that a file may have: its own, or those of a key that a user put beside ours."""
    owner = "root:root" if one.path.startswith(f"{paths.DOCKER_PKI}/") else f"{paths.USER}:{paths.USER}"
    return wanted(node).get(one.path, (0o400, owner))


def _is_closed(node: Node, one: Held) -> bool:
    if one.kind == "certificate":
        return one.mode | CERTIFICATE_MODE == CERTIFICATE_MODE
    return one.kind == "other" or (one.mode, one.owner) == _allowed(node, one)


def _rule(node: Node, one: Held) -> str:
    if one.kind == "certificate":
        return f"at most {CERTIFICATE_MODE:o}"
    mode, owner = _allowed(node, one)
    return f"{mode:o} {owner}"


@check("security")
@on_each_node
def no_key_of_an_authority(made: Scratch) -> Outcome:
    """No PEM file on a node contains an authority's private key: whoever reads it can sign certificates.

    The node recognises a key by its public key, and only that is sent to it. It does not find a copy that is encrypted,
    in another format, or over 1 MiB.
    """
    signers = opened(made.proof.coordinator).identity.signers
    points = {certificates.point(signer.certificate): authority for authority, signer in signers.items()}
    script = f"{library('private_keys')}\nfind_private_keys {shlex.join(points)} -- {' '.join(PLACES)}\n"
    told = made.remote().run(script, timeout=SEARCH_SECONDS, what="a search for keys").stdout
    return judged_keys(made.node, told, {point: str(authority) for point, authority in points.items()})


def judged_keys(node: Node, told: str, authorities: Mapping[str, str]) -> Outcome:
    """Return an outcome that names the files with an authority's key. `authorities`: by their public key in hex."""
    found = {path: points.split() for points, _, path in (line.partition("\t") for line in told.splitlines())}
    leaks = [
        f"{path} holds the key of the authority {' and '.join(sorted({authorities[point] for point in points}))}"
        for path, points in found.items()
        if points
    ]
    if leaks:
        advice = "remove the key, find out who read it, and run fab certs --rotate --authority"
        return failed(node.name, "; ".join(leaks), advice)
    if not found.keys() >= set(_keys(node)):
        return failed(node.name, "nothing is proven: the search did not find the node's own keys", "fab plan")
    searched = f"{len(found)} files with a private key, none of an authority"
    return passed(node.name, f"{searched} ({', '.join(authorities.values())})")


@check("security")
@on_each_node
def keys_are_in_no_process(made: Scratch) -> Outcome:
    """No private key of the node leaks: none is in a process's arguments or environment, or in a daemon's journal."""
    words = f"{shlex.quote(' '.join(UNITS))} {shlex.join(_keys(made.node))}"
    script = f"{library('private_keys')}\nfind_key_leaks {words}\n"
    return judged_sight(made.node, made.remote().run(script, what="a search for keys in processes").stdout)


def judged_sight(node: Node, told: str) -> Outcome:
    """Return an outcome that names the places of a key outside its file: `/proc/PID/environ`, `journal`."""
    keys, found = _keys(node), told.splitlines()
    if seen := [place for place in found if place not in (*keys, _JOURNAL)]:
        advice = "end the process, find out who read the key, and make new keys with fab certs --rotate"
        return failed(node.name, f"a key of this node is seen in {', '.join(seen)}", advice)
    if set(keys) - set(found):
        return failed(node.name, "nothing is proven: the search did not find the node's own keys", "fab plan")
    journal = "no journal of a daemon" if _JOURNAL in found else "there was no journal of a daemon to read"
    return passed(node.name, f"{len(keys)} keys: in no arguments, no environment, and {journal}")


def _keys(node: Node) -> list[str]:
    return [path for path in wanted(node) if path.endswith(".key")]
