"""The TCP ports on which a node listens: those that must be closed, and one that must be open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.checks.scratch import Scratch
from provision.core.outcome import Outcome, failed, passed
from provision.inventory.model import Node

_LISTENERS = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"


def closed(made: Scratch, ports: Sequence[int], running: int, why: str) -> Outcome:
    """Return an outcome that names those of the ports on which something listens.

    `running`: the port of a daemon that runs; if it is closed too, nothing is proven. `why`: why the others matter.
    """
    told = made.remote().run(_LISTENERS, what="reading the open ports").stdout
    return judged(made.node, frozenset(listening(told)), ports, running, why)


def listening(told: str) -> Iterator[int]:
    """Yield the TCP ports with a listener, from /proc/net/tcp and tcp6."""
    for words in map(str.split, told.splitlines()):
        if len(words) > 3 and words[3] == "0A":  # the kernel's number for LISTEN
            yield int(words[1].rpartition(":")[2], 16)


def judged(node: Node, there: frozenset[int], ports: Sequence[int], running: int, why: str) -> Outcome:
    """Return an outcome of the ports that are open. The other words are those of `closed`."""
    if running not in there:
        return failed(node.name, f"nothing listens on {running}: nothing is proven", "fab plan")
    if found := [port for port in ports if port in there]:
        filters = " or ".join(f"sport = :{port}" for port in found)
        advice = f"on the node, find the process: ss -lntp '{filters}'; {why}"
        return failed(node.name, f"something listens on {_joined(found)}", advice)
    return passed(node.name, f"nothing listens on {_joined(ports)}, but on {len(there)} other ports")


def _joined(ports: Sequence[int]) -> str:
    return ", ".join(map(str, ports))
