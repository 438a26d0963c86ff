"""The swarm's keys and data on each node: who can read them, and whether the authority's key is in a file."""

from __future__ import annotations

import shlex

from provision.checks import key_files
from provision.checks.key_files import PLACES, SEARCH_SECONDS, SOCKET, Permissions, Rules
from provision.checks.scratch import Scratch, on_each_node
from provision.core.check import check
from provision.core.outcome import Outcome
from provision.inventory.model import Node
from provision.node import library
from provision.pki import certificates
from provision.planes.swarm import view
from provision.planes.swarm.coordinator import opened

#: The largest mode of a certificate, as Docker makes them.
CERTIFICATE_MODE = 0o644
#: The permissions of a key: only Docker, which is root, reads it.
KEY: Permissions = (0o600, "root:root")
#: The managers' data below the swarm's folder, in which the authority's key is: raft's log and its snapshots. A manager
#: that becomes a worker removes both, and keeps the empty folder above them.
RAFT = ("raft/wal-v3-encrypted", "raft/snap-v3-encrypted")


def rules(node: Node, folder: str) -> Rules:
    """Return the permissions of what must be on a node. `folder`: of the swarm, below Docker's data."""
    key = {f"{folder}/certificates/swarm-node.key": KEY}
    closed = {folder: (0o700, "root:root")}
    raft = dict.fromkeys((f"{folder}/{name}" for name in RAFT), (0o700, "root:root"))
    socket = {SOCKET: (0o660, "root:docker")}
    if node.member:
        return Rules(key | closed | raft | socket, lambda _: KEY, CERTIFICATE_MODE)
    return Rules(key | closed | socket, lambda _: KEY, CERTIFICATE_MODE, never=frozenset(raft))


def _folder(made: Scratch) -> str:
    return f"{made.api.info()['DockerRootDir']}/swarm"


@check("security")
@on_each_node
def keys_and_data_are_closed(made: Scratch) -> Outcome:
    """The swarm's key and data are open to root alone, Docker's socket to its group; no worker has raft's log."""
    folder = _folder(made)
    script = f"""{library("private_keys")}
        describe_key_files {shlex.quote(f"{folder}/certificates")}
        describe_paths folder {shlex.join((folder, *(f"{folder}/{name}" for name in RAFT)))}
        describe_paths socket {SOCKET}
    """
    told = made.remote().run(script, what="reading the permissions of keys").stdout
    advice = "on the node: chown root:root and chmod 600 for a key, 700 for a folder; remove what you copied there"
    return key_files.judged(made.node, key_files.read(told), rules(made.node, folder), advice)


@check("security")
@on_each_node
def no_key_of_an_authority(made: Scratch) -> Outcome:
    """No PEM file on a node contains the private key of the swarm's authority: whoever reads it can make a manager.

    The managers have it encrypted in their raft logs. The node recognises a key by its public key, and only that is
    sent to it.
    """
    folder = _folder(made)
    roots = certificates.load_all(view.trusted(opened(made.proof.coordinator).manager().info()))
    points = {certificates.point(root): "swarm" for root in roots}
    places = f"{' '.join(PLACES)} {shlex.quote(folder)}"
    script = f"{library('private_keys')}\nfind_private_keys {shlex.join(points)} -- {places}\n"
    told = made.remote().run(script, timeout=SEARCH_SECONDS, what="a search for keys").stdout
    advice = "remove the key, find out who read it, and run fab certs --rotate"
    return key_files.judged_copies(made.node, told, points, rules(made.node, folder).keys, advice)
