"""Tables and trees as lines that fit a width. No word is broken or lost in a table; a tree has one line a key. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import takewhile, zip_longest
from typing import NamedTuple

from provision.core.table import Table

#: Spaces between two columns.
GAP = 2
#: The width of lines that may be as long as they like.
UNLIMITED = 0
#: How much of a long ID, in hex, stays in a tree.
ID = 12
#: The mark of a key whose value differs between places.
DIFFERS = "≠"


class Line(NamedTuple):
    """A line of text and its rich style, empty for none."""

    text: str
    style: str = ""


def lines(table: Table, width: int = UNLIMITED) -> Iterator[Line]:
    """Yield a table: its title, and its columns, or its tree. `width`: of a line, in characters."""
    if not table.rows:
        yield Line(f"{table.title}: none")
        return
    yield Line("")
    yield Line(table.title, "bold")
    yield from _tree(table, width) if table.is_tree else _columns(table, width)


def _columns(table: Table, width: int) -> Iterator[Line]:
    widths = _widths((table.columns, *table.rows), width)
    if widths is None:
        yield from _blocks(table, width)
        return
    for row, style in ((table.columns, "dim"), *((row, "") for row in table.rows)):
        cells = [_wrapped(cell, space) for cell, space in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            text = (" " * GAP).join(part.ljust(space) for part, space in zip(parts, widths, strict=True))
            yield Line(text.rstrip(), style)


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Return each column's width; None if not even the longest words fit. The widest columns become narrower first."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    least = [max(len(word) for cell in column for word in (cell.split() or [""])) for column in columns]
    room = width - GAP * (len(columns) - 1)
    if width == UNLIMITED:
        return widths
    if sum(least) > room:
        return None
    while sum(widths) > room:
        wide = max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[wide] -= 1
    return widths


def _blocks(table: Table, width: int) -> Iterator[Line]:
    """Yield a block for each row: its first cell, and below it a line for each other cell that is not empty."""
    names = max(map(len, table.columns))
    for first, *cells in table.rows:
        yield from map(Line, _wrapped(first, width))
        for column, cell in zip(table.columns[1:], cells, strict=True):
            for number, part in enumerate(_wrapped(cell, width - names - 2 * GAP) if cell else ()):
                name = "" if number else column
                yield Line(f"{' ' * GAP}{name.ljust(names)}{' ' * GAP}{part}")


def _wrapped(cell: str, width: int) -> list[str]:
    """Return a cell's lines, broken at spaces alone; a longer word stays whole."""
    if len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]


def _tree(table: Table, width: int) -> Iterator[Line]:
    """Yield a line for each folder and each key; a marked one for a key whose value differs, with every value."""
    places = table.columns[1:]
    above: list[str] = []
    for path, *values in table.rows:
        *folders, name = path.strip("/").split("/")
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(folders, above, strict=False)))
        for depth in range(known, len(folders)):
            yield Line(_cut(f"  {'  ' * depth}{_short(folders[depth])}/", width))
        above = folders
        same = len(set(values)) == 1
        told = values[0] if same else "  ".join(f"{one}: {value}" for one, value in _shares(places, values, width))
        mark, style = (" ", "") if same else (DIFFERS, "yellow")
        yield Line(_cut(f"{mark} {'  ' * len(folders)}{_short(name)}  {told}".rstrip(), width), style)


def _shares(places: Sequence[str], values: Sequence[str], width: int) -> Iterator[tuple[str, str]]:
    """Yield each place and its value, cut so that each has its share of half a line."""
    share = max(8, width // 2 // len(values)) if width else UNLIMITED
    return ((place, _cut(value, share)) for place, value in zip(places, values, strict=True))


def _short(name: str) -> str:
    """Return a path's part; of a long ID its beginning, as Docker shows it."""
    is_id = len(name) >= 25 and name.isalnum() and name.islower()
    return f"{name[:ID]}…" if is_id else name


def _cut(text: str, width: int) -> str:
    return text if width == UNLIMITED or len(text) <= width else f"{text[: width - 1]}…"
