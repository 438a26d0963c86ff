"""Look at host keys without logging in, and record the new ones: the verb `trust`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from provision.errors import ConnectionFailed, Problem
from provision.inventory.model import Node
from provision.remote import host_keys
from provision.remote.connection import Gateways, Link
from provision.remote.host_key_policy import mistrust, record_host_key
from provision.remote.host_keys import HostKey
from provision.remote.remotes import in_parallel
from provision.remote.target import Login, Target, target_of

State = Literal["recorded", "known", "changed", "unreachable"]


@dataclass(frozen=True)
class Trust:
    """The host key of one server: a node, or a jump host in front of a node.

    `host` is the server's name in known_hosts. `problem` is set if the key has changed or is revoked, or if the
    server cannot be reached; nothing is recorded then.
    """

    where: str
    host: str
    fingerprint: str
    state: State
    problem: Problem | None = None


class _SeenError(Exception):
    """Ends a connection once its host key was seen."""


def trust(nodes: Sequence[Node], login: Login) -> list[Trust]:
    """Look at every node's host key, and record the unknown ones. Return the jump hosts first, each once."""
    seen: dict[str, Trust] = {}
    lock = threading.Lock()

    def check(target: Target, login: Login, where: str, key: HostKey) -> None:  # noqa: ARG001
        with lock:
            seen[where] = _look(target, where, key)
        problem = seen[where].problem
        if problem is not None:
            raise ConnectionFailed(problem)
        if where in names:
            raise _SeenError

    def visit(node: Node) -> None:
        try:
            Link(target_of(node, login), login, node.name, gateways)
        except _SeenError:
            return
        except ConnectionFailed as error:
            unreachable = Trust(node.name, node.ssh.host, "", "unreachable", error.problems[0])
            with lock:
                seen.setdefault(node.name, unreachable)

    names = {node.name for node in nodes}
    gateways = Gateways(login, check)
    try:
        in_parallel(visit, nodes)
    finally:
        gateways.close()
    order = {node.name: index for index, node in enumerate(nodes)}
    return sorted(seen.values(), key=lambda trust: (order.get(trust.where, -1), trust.where))


def _look(target: Target, where: str, key: HostKey) -> Trust:
    verdict, entry = host_keys.judge(host_keys.read(target.known_hosts), target.known_as, key)
    shown = f"{key.kind} {key.fingerprint}"
    if verdict == "known":
        return Trust(where, target.known_as, shown, "known")
    if entry is not None:
        return Trust(where, target.known_as, shown, "changed", mistrust(target, where, key, entry))
    record_host_key(target, where, key)
    return Trust(where, target.known_as, shown, "recorded")
