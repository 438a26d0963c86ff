"""Collect the diagnostics of all nodes at once, within a time limit."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from provision.errors import ProvisionError
from provision.inventory.model import Node
from provision.node import library
from provision.remote import Login, Remote, Remotes

#: Seconds a node may take to print all its parts; parts not started by then are left out.
NODE_SECONDS = 20
#: Further seconds for the transfer and for the part in progress.
GRACE = 10
#: The largest size of one part, in bytes.
PART_BYTES = 400_000

_NAME = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.-]*")
_END = "end"


@dataclass(frozen=True)
class Told:
    """A node's parts by name, such as `docker/journal`. `missing` says why parts are missing; empty if none are."""

    parts: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


def collect(nodes: Sequence[Node], login: Login, functions: str) -> dict[str, Told]:
    """Return the diagnostics of every node by name, over new connections. A node that does not answer is no error.

    `functions` are the shell functions of the control plane, for its own parts.
    """
    remotes, refused = Remotes.reach(nodes, replace(login, ask=None))
    with remotes:
        collected = remotes.each(lambda remote: _collect_from(remote, functions))
    collected |= {name: Told(missing=str(error)) for name, error in refused.items()}
    return {node.name: collected[node.name] for node in nodes}


def _collect_from(remote: Remote, functions: str) -> Told:
    mark = secrets.token_hex(8)
    script = f"{library('bundle')}\n{functions}\nbundle {mark} {NODE_SECONDS} {PART_BYTES}\n"
    try:
        output, problem = remote.collect(script, timeout=NODE_SECONDS + GRACE, what="collecting for the bundle")
    except ProvisionError as error:
        return Told(missing=str(error))
    return read(output, mark, str(problem) if problem else "")


def read(answer: str, mark: str, ended: str = "") -> Told:
    """Split a node's output into its parts. Pure. A part whose name could lead out of the node's folder is dropped."""
    pieces = [piece.partition("\n") for piece in f"\n{answer}".split(f"\n{mark} ")[1:]]
    parts = {name: _whole_lines(text) for name, _, text in pieces if _NAME.fullmatch(name)}
    complete = any(name == _END for name, _, _ in pieces)
    return Told(parts, ended or ("" if complete else "the node stopped before it had printed all parts"))


def _whole_lines(text: str) -> str:
    """Drop the last line of a part that was cut: it may contain half a secret, which is not recognised."""
    if len(text.encode(errors="replace")) < PART_BYTES:
        return text
    return f"{text.rpartition(chr(10))[0]}\n[cut after {PART_BYTES} bytes]\n"
