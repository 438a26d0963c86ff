"""Read YAML into values and their lines. No objects are constructed, so nothing can execute.

YAML reads some words without quotes as other values: `no` (false), `20.10` (20.1), `022` (18), `22:22` (1342).
Such a word becomes a `Misread`, which is refused wherever it occurs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from provision.inventory.errors import Location, Mistake, show, visible

DEPTH_LIMIT = 12
"""Levels of nesting; an inventory needs four: nodes, NAME, ssh, user."""

_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_MISREAD = {
    "a yes or a no": r"y|yes|n|no|on|off|true|false",
    "nothing": r"null",
    "an octal number": r"[-+]?0o?[0-7_]+",
    "a number in base 60": r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?",
    "a number": r"[-+]?(0x[0-9a-f_]+|0b[01_]+|[0-9][0-9_]*|(\.[0-9]+|[0-9]+(\.[0-9_]*)?)(e[-+]?[0-9]+)?)",
    "a number without end": r"[-+]?\.(inf|nan)",
    "a date": r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t ].*)?",
}

_SYNTAX = {
    r"'\\t'": ("a tab instead of spaces", "indent with two spaces"),
    r"'[@`%]'": ("a word cannot start with this character", "put the value in quotes"),
    r"mapping values are not allowed": (
        "a second `key:` on one line, or a line indented too far",
        "put a value that holds `: ` in quotes; indent lines of one level alike",
    ),
    r"could not find expected ':'": ("a line without `key: value`", "write `key: value`"),
    r"quoted scalar|end of stream": ("a quote that is not closed", "close it with the same quote"),
    r"expected ',' or": ("a bracket that is not closed", "close it, and separate what is inside by commas"),
    r"expected <block end>": (
        "a line that is not indented like its neighbours",
        "indent lines of one level alike, with spaces",
    ),
}


@dataclass(frozen=True)
class Misread:
    """A word without quotes that YAML reads as another value, and a description of that value."""

    text: str
    reading: str

    def __str__(self) -> str:
        """As it was typed."""
        return self.text


class Refused:
    """Replaces a value that was refused already."""


@dataclass
class Page:
    """The content of the file, in dict, list, str, int, bool, None, Misread and Refused."""

    values: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, location: Location) -> int:
        """Return the line of a value, or of the nearest section around it that is in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)


def parse(text: str) -> Page:
    """Read YAML. The page has every mistake; a mistake of syntax ends the reading."""
    page = Page()
    reader = _Reader(page, text)
    try:
        page.values = reader.document()
    except _Stop as stop:
        page.mistakes.append(stop.mistake)
    except MarkedYAMLError as error:
        page.mistakes.append(_explained(error))
    # ValueError: an escape beyond Unicode. The others come from inside ruamel.yaml.
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        page.mistakes.append(
            Mistake(
                1, f"not YAML: {str(error).splitlines()[0]}", "find the line: delete half of the file and try again"
            )
        )
    return page


class _Stop(Exception):
    """A mistake after which the rest cannot be read."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake


class _Reader:
    """Reads the events of ruamel.yaml one by one."""

    def __init__(self, page: Page, text: str) -> None:
        self._page = page
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))

    def document(self) -> Any:
        """Return the only document."""
        values: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    advice = "delete the line --- and what follows"
                    raise _Stop(Mistake(_line(event), "a second document starts here", advice))
                values = self._value(next(self._events), ())
        return values

    def _value(self, event: Any, location: Location) -> Any:
        self._page.lines.setdefault(location, _line(event))
        if len(location) > DEPTH_LIMIT:
            raise _Stop(Mistake(_line(event), f"more than {DEPTH_LIMIT} levels of nesting", "four levels are enough"))
        match event:
            case AliasEvent():
                advice = "write the value out; what all nodes share goes under the top-level ssh:"
                return self._refuse(event, f"the alias {show(f'*{event.anchor}')} stands for another value", advice)
            case ScalarEvent():
                value: Any = self._refuse_half(event) or (event.value if event.style else _word(event.value))
            case MappingStartEvent():
                value = self._mapping(location)
            case SequenceStartEvent():
                value = self._sequence(location)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            return self._refuse(event, f"the tag {show(tag)}: only plain values are accepted here", "delete the tag")
        return value

    def _sequence(self, location: Location) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            values.append(self._value(event, (*location, len(values))))
        return values

    def _mapping(self, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event)
            if key not in values:
                self._page.lines[*location, key] = _line(event)
                values[key] = self._value(next(self._events), (*location, key))
                continue
            first = self._page.line((*location, key))
            self._refuse(event, f"{show(key)} is here twice, first on line {first}", "delete one of the two")
            self._value(next(self._events), (*location, ""))
        return values

    def _key(self, event: Any) -> str:
        if not isinstance(event, ScalarEvent):
            raise _Stop(Mistake(_line(event), "a key must be a word", "write `key: value`"))
        if self._refuse_half(event):
            return visible(event.value)
        word = event.value if event.style else _word(event.value)
        if not isinstance(word, str):
            what = f"the key {show(event.value)} is taken for {reading(word)}, not for a word"
            self._refuse(event, what, f'put it in quotes: "{event.value}"' if event.value else "write `key: value`")
        return str(event.value)

    def _refuse_half(self, event: ScalarEvent) -> Refused | None:
        """Refuse half a character (a surrogate): only an escape can write it, and it cannot be printed."""
        if not re.search("[\ud800-\udfff]", event.value):
            return None
        return self._refuse(event, f"{show(event.value)} holds half a character", "type it without \\u")

    def _refuse(self, event: Any, what: str, advice: str) -> Refused:
        self._page.mistakes.append(Mistake(_line(event), what, advice))
        return Refused()


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _word(text: str) -> str | int | bool | Misread | None:
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.fullmatch(text):
        return int(text)
    for taken_for, pattern in _MISREAD.items():
        if re.fullmatch(pattern, text, re.IGNORECASE):
            return Misread(text, taken_for)
    return text


def reading(value: object) -> str:
    """Describe the value as which YAML reads something."""
    match value:
        case Misread():
            return value.reading
        case None:
            return "nothing"
        case bool():
            return "a yes or a no"
        case int():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a group of keys"


def _explained(error: MarkedYAMLError) -> Mistake:
    problem = f"{error.problem} {error.context or ''}".strip()
    # A quote or bracket that is not closed is noticed at the end of the file; the context is where it was opened.
    opened = re.search(r"quoted scalar|simple key|flow", problem) and error.context_mark
    mark = opened or error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    for pattern, (what, advice) in _SYNTAX.items():
        if re.search(pattern, problem):
            return Mistake(line, what, advice)
    return Mistake(line, f"not YAML: {visible(problem)}", "compare the line with its neighbours")
