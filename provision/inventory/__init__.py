"""inventory.yml: from the file to a Cluster, or to every mistake in it.

source      bytes → text
reader      text → page: values as typed, with lines
document    the keys there are (pydantic), the JSON Schema
values      what one value may be
complaints  what pydantic finds → mistakes
rules       what takes two values to see → mistakes
build       document → Cluster, defaults filled in
"""

from __future__ import annotations

from pathlib import Path

from provision.errors import InventoryError, Problem
from provision.inventory import source
from provision.inventory.build import build
from provision.inventory.complaints import check
from provision.inventory.document import schema
from provision.inventory.model import Cluster
from provision.inventory.reader import parse
from provision.inventory.rules import broken

__all__ = ["load", "schema", "warnings"]


def load(path: Path) -> Cluster:
    """Return the cluster. InventoryError with every mistake, by line; UsageError where there is no such file."""
    page = parse(source.read(path))
    mistakes = list(page.mistakes)
    document = None
    if isinstance(page.values, dict):
        document, complaints = check(page)
        mistakes += [*complaints, *broken(page)]
    if document is None or mistakes:
        mistakes.sort(key=lambda mistake: mistake.line)
        raise InventoryError(*(mistake.problem(path) for mistake in mistakes))
    return build(document, path)


def warnings(cluster: Cluster) -> tuple[Problem, ...]:
    """Return what can be done, and should be known."""
    members, nodes = len(cluster.members), len(cluster.nodes)
    lost = (members - 1) // 2
    found = []
    if members == 1:
        found.append(
            ("1 member: the store, and with it every change of a network, ends with it", "have three")
        )
    elif members % 2 == 0:
        what = f"{members} members outlive the loss of {lost or 'none'}, as {members - 1} would"
        advice = (
            "a third node makes the store outlive one, even a small one that only holds it"
            if members == 2
            else ""
        )
        found.append(
            (what, advice or "have an odd number: set `member: false` on one node, or true on one more")
        )
    if members > MANY_MEMBERS:
        found.append(
            (f"{members} members: each write waits for {members // 2 + 1} of them", "have three or five")
        )
    if nodes > MANY_NODES:
        found.append((f"{nodes} nodes: more than {MANY_NODES} were never tried", "go on with care"))
    return tuple(Problem(what, str(cluster.path), advice) for what, advice in found)


MANY_MEMBERS = 7
"""etcd's FAQ advises against more."""

MANY_NODES = 20
"""What this program is made for."""
