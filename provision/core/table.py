"""Rows under a title, as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows under a title. `name` is its key in JSON; the columns are the keys of each row.

    `is_tree`: the first column is a path, and the others have the value that each of several places holds there.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_tree: bool = False
