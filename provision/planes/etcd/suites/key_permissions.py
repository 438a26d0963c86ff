"""Private keys, data and sockets: who can read them, and whether a copy of a key is where it must not be."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from provision.checks import key_files
from provision.checks.key_files import PLACES, SEARCH_SECONDS, SOCKET, Held, Permissions, Rules
from provision.checks.scratch import Scratch, on_each_node
from provision.core.check import check
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node
from provision.node import library
from provision.pki import certificates
from provision.planes.etcd import paths
from provision.planes.etcd.coordinator import opened

STORE_DATA = f"{paths.DATA}/data"
#: The line that a node prints after it has read its daemons' journals.
_JOURNAL = "read journal"
#: The daemons whose journals are searched.
UNITS = ("etcd", "docker", "overlay-join", "overlay-mend")
#: The largest mode of a certificate: everybody may read it.
CERTIFICATE_MODE = 0o444


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
    told = made.remote().run(script, what="reading the permissions of keys").stdout
    return judged(made.node, key_files.read(told))


def judged(node: Node, held: Iterable[Held]) -> Outcome:
    """Return an outcome that names what is missing, and what has wider permissions than it may have."""
    advice = "fab provision corrects its own files; remove what you copied there"
    return key_files.judged(node, held, rules(node), advice)


def rules(node: Node) -> Rules:
    """Return the permissions of everything that must be on a node."""
    docker = dict.fromkeys((f"{paths.DOCKER_PKI}/server.key", f"{paths.DOCKER_PKI}/store.key"), (0o400, "root:root"))
    socket = {SOCKET: (0o660, "root:docker")}
    if not node.member:
        return Rules(docker | socket, _key, CERTIFICATE_MODE)
    etcd = dict.fromkeys((f"{paths.ETCD_PKI}/peer.key", f"{paths.ETCD_PKI}/server.key"), (0o400, _OWNER))
    data = dict.fromkeys((paths.DATA, STORE_DATA), (0o700, _OWNER))
    return Rules(etcd | docker | data | socket, _key, CERTIFICATE_MODE)


_OWNER = f"{paths.USER}:{paths.USER}"


def _key(path: str) -> Permissions:
    """Return the permissions of a key that a user put beside ours."""
    return 0o400, "root:root" if path.startswith(f"{paths.DOCKER_PKI}/") else _OWNER


@check("security")
@on_each_node
def no_key_of_an_authority(made: Scratch) -> Outcome:
    """No PEM file on a node contains an authority's private key: whoever reads it can sign certificates.

    The node recognises a key by its public key, and only that is sent to it. It does not find a copy that is encrypted,
    in another format, or over 1 MiB.
    """
    signers = opened(made.proof.coordinator).identity.signers
    points = {certificates.point(signer.certificate): str(authority) for authority, signer in signers.items()}
    # Our folders by their names too: they may be behind links, or on file systems of their own.
    places = f"{' '.join(PLACES)} {paths.DATA} {paths.ETCD_PKI} {paths.DOCKER_PKI}"
    script = f"{library('private_keys')}\nfind_private_keys {shlex.join(points)} -- {places}\n"
    told = made.remote().run(script, timeout=SEARCH_SECONDS, what="a search for keys").stdout
    advice = "remove the key, find out who read it, and run fab certs --rotate --authority"
    return key_files.judged_copies(made.node, told, points, rules(made.node).keys, advice)


@check("security")
@on_each_node
def keys_are_in_no_process(made: Scratch) -> Outcome:
    """No private key of the node leaks: none is in a process's arguments or environment, or in a daemon's journal."""
    words = f"{shlex.quote(' '.join(UNITS))} {shlex.join(rules(made.node).keys)}"
    script = f"{library('private_keys')}\nfind_key_leaks {words}\n"
    return judged_sight(made.node, made.remote().run(script, what="a search for keys in processes").stdout)


def judged_sight(node: Node, told: str) -> Outcome:
    """Return an outcome that names the places of a key outside its file: `/proc/PID/environ`, `journal`."""
    keys, found = rules(node).keys, told.splitlines()
    if seen := [place for place in found if place not in (*keys, _JOURNAL)]:
        advice = "end the process, find out who read the key, and make new keys with fab certs --rotate"
        return failed(node.name, f"a key of this node is seen in {', '.join(seen)}", advice)
    if set(keys) - set(found):
        return failed(node.name, "nothing is proven: the search did not find the node's own keys", "fab plan")
    journal = "no journal of a daemon" if _JOURNAL in found else "there was no journal of a daemon to read"
    return passed(node.name, f"{len(keys)} keys: in no arguments, no environment, and {journal}")
