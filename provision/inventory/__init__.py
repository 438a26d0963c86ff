"""inventory.yml: from the file to a Cluster, or to every mistake in it.

source        the file → text
reader        text → page: values as typed, with their lines
document      the keys of an inventory, and the JSON Schema
values        the checks of single values; addresses: those of hosts and networks
complaints    page → document, or mistakes in shape and single values
rules         page → mistakes in how values go together
releases      etcd's releases: versions that work, and the table of checksums
build         document → Cluster, every default filled in
template      addresses → an inventory to start from
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from provision.errors import InventoryError
from provision.inventory import source
from provision.inventory.build import build
from provision.inventory.document import schema
from provision.inventory.errors import Mistake
from provision.inventory.model import Cluster
from provision.inventory.reader import parse
from provision.inventory.rules import broken
from provision.inventory.template import template
from provision.inventory.validation import check
from provision.inventory.warnings import warnings
from provision.ports import Port

__all__ = ["load", "schema", "template", "warnings"]


def load(path: Path, ports: Collection[Port] = ()) -> Cluster:
    """Return the cluster. InventoryError with every mistake; UsageError if there is no such file.

    `ports` are the ports that a cluster opens, on which no sshd may listen.
    """
    page = parse(source.read(path))
    mistakes = list(page.mistakes)
    document = None
    if isinstance(page.values, dict):
        document, complaints = check(page)
        mistakes += [*complaints, *broken(page, ports)]
    elif not mistakes:
        what = "nothing is written here" if page.values is None else "an inventory consists of `key: value` lines"
        advice = "start from a template: remove this file, then fab init --host ADDRESS --host ADDRESS"
        mistakes.append(Mistake(1, what, advice))
    if document is None or mistakes:
        mistakes.sort(key=lambda mistake: mistake.line)
        raise InventoryError(*(mistake.problem(path) for mistake in mistakes))
    return build(document, path)
