"""What each node tells of itself, from all at once, and no longer than a bundle is worth waiting for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from provision.errors import ProvisionError
from provision.inventory.model import Node
from provision.node import library
from provision.remote import Login, Remote, Remotes

#: Seconds in which a node has to have told everything; what is left then is not asked.
NODE_SECONDS = 20
#: Seconds more for the way there and for the part that is being told.
GRACE = 10
#: Bytes of one part.
PART_BYTES = 400_000

_NAME = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.-]*")
_END = "end"


@dataclass(frozen=True)
class Told:
    """A node's parts by name, `docker/journal`, and what is missing of them; empty where all is there."""

    parts: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


def collect(nodes: Sequence[Node], login: Login, functions: str) -> dict[str, Told]:
    """Return what every node tells, by its name, over connections of its own. A node that does not is no error.

    `functions`: the control plane's, for its own parts.
    """
    remotes, refused = Remotes.reach(nodes, replace(login, ask=None))
    with remotes:
        told = remotes.each(lambda remote: _ask(remote, functions))
    told |= {name: Told(missing=str(error)) for name, error in refused.items()}
    return {node.name: told[node.name] for node in nodes}


def _ask(remote: Remote, functions: str) -> Told:
    mark = secrets.token_hex(8)
    script = f"{library('bundle')}\n{functions}\nbundle {mark} {NODE_SECONDS} {PART_BYTES}\n"
    try:
        answer, ended = remote.collect(script, timeout=NODE_SECONDS + GRACE, what="collecting for the bundle")
    except ProvisionError as error:
        return Told(missing=str(error))
    return read(answer, mark, str(ended) if ended else "")


def read(answer: str, mark: str, ended: str = "") -> Told:
    """Tell the parts of an answer apart. Pure. A name that could lead out of the node's folder is passed over."""
    pieces = [piece.partition("\n") for piece in f"\n{answer}".split(f"\n{mark} ")[1:]]
    parts = {name: _whole_lines(text) for name, _, text in pieces if _NAME.fullmatch(name)}
    whole = any(name == _END for name, _, _ in pieces)
    return Told(parts, ended or ("" if whole else "the node ended before it had told everything"))


def _whole_lines(text: str) -> str:
    """Drop the last line of a part that was cut: of a secret in it, half would be left."""
    if len(text.encode(errors="replace")) < PART_BYTES:
        return text
    return f"{text.rpartition(chr(10))[0]}\n[cut after {PART_BYTES} bytes]\n"
