"""Mistakes in an inventory, and how messages show values so that no character is hidden or garbled."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from provision.errors import Problem

Location = tuple[str | int, ...]
"""The keys that lead to a value: ("nodes", "node1", "address")."""

SHOWN_LENGTH = 60
"""Characters of a value that a message repeats."""

# Controls, format characters (direction marks among them), surrogates, line and paragraph separators.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_NAMES = {"\0": "NUL", "\t": "a tab", "\n": "a line break", "\r": "a carriage return", "\x1b": "escape"}


@dataclass(frozen=True)
class Mistake:
    """One mistake, and its line in the file."""

    line: int
    what: str
    advice: str

    def problem(self, path: Path) -> Problem:
        """Return the problem that the user is shown."""
        return Problem(self.what, f"{visible(str(path))}:{self.line}", self.advice)


class Wrong(ValueError):
    """A value that cannot be used: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, advice: str) -> None:
        """Take both texts without the key and the line, which the caller adds."""
        super().__init__(what, advice)
        self.what = what
        self.advice = advice


def show(value: object) -> str:
    """Return a value as it was typed, between backticks, cut to SHOWN_LENGTH."""
    match value:
        case bool():
            text = str(value).lower()
        case None:
            text = "null"
        case _:
            text = str(value)
    text = visible(text)
    return f"`{text[:SHOWN_LENGTH]}…`" if len(text) > SHOWN_LENGTH else f"`{text}`"


def visible(text: str) -> str:
    """Escape characters that are not printable: a line break as \\n, a direction mark as \\u202e."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_unseen(character: str) -> bool:
    """Whether a character is invisible."""
    return unicodedata.category(character) in _UNSEEN


def describe(character: str) -> str:
    """Name a character: U+0430 CYRILLIC SMALL LETTER A."""
    if character in _NAMES:
        return _NAMES[character]
    code = f"U+{ord(character):04X}"
    return f"{code} {unicodedata.name(character, '')}".rstrip()
