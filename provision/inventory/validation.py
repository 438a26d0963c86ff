"""Turn pydantic's errors into messages about the inventory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from provision.inventory.document import RESERVED, Document, schema
from provision.inventory.errors import Location, Mistake, Wrong, show, visible
from provision.inventory.reader import Misread, Page, Refused, reading

Shape = dict[str, Any]
"""A part of the JSON Schema."""

_YES, _NO = {"y", "yes", "on", "true"}, {"n", "no", "off", "false"}
_EXPECTED = {
    "string_type": "text",
    "int_type": "a plain number",
    "bool_type": "true or false",
    "dict_type": "a group of keys",
    "model_type": "a group of keys",
}


def check(page: Page) -> tuple[Document | None, tuple[Mistake, ...]]:
    """Return the document, or every mistake in its shape and in its single values."""
    try:
        return Document.model_validate(page.values), ()
    except ValidationError as error:
        details = error.errors(include_url=False)
    return None, tuple(_mistake(each, page) for each in details if not _was_refused(each))


def _was_refused(error: ErrorDetails) -> bool:
    return isinstance(error["input"], Refused) and error["type"] != "extra_forbidden"


def _mistake(error: ErrorDetails, page: Page) -> Mistake:
    location: Location = error["loc"]
    subject = dotted(location)
    # pydantic's location ends so if the key itself is wrong.
    if location[-1] == "[key]" and location not in page.lines:
        location, subject = location[:-1], dotted(location[:-2])
    what, advice = _words(error, location)
    return Mistake(page.line(location), f"{subject}: {what}" if subject else what, advice)


def _words(error: ErrorDetails, location: Location) -> tuple[str, str]:
    value = error["input"]
    match error["type"]:
        case "missing":
            return "this key is missing", f"add {_example(location)}"
        case "extra_forbidden":
            return _unknown(location)
        case "literal_error":
            return _choice(value, location)
        case "too_short":
            return _too_few(location, len(value))
        case "value_error":
            wrong = error["ctx"]["error"]
            return (wrong.what, wrong.advice) if isinstance(wrong, Wrong) else (str(wrong), "")
    expected = _EXPECTED.get(error["type"], "another value")
    return f"{_taken(value)}, but {expected} is expected", _instead(value, expected, location)


def _taken(value: object) -> str:
    if value is None:
        return "nothing is written"
    if isinstance(value, list | dict):
        return f"this is {reading(value)}"
    return f"{show(value)} is {'taken for ' if isinstance(value, Misread) else ''}{reading(value)}"


def _instead(value: object, expected: str, location: Location) -> str:
    typed = str(value)
    match expected, value:
        case "text", int() | Misread() if location[-1] not in ("address", "subnet"):
            return f'put it in quotes: {location[-1]}: "{typed.lower() if isinstance(value, bool) else typed}"'
        case "a plain number", str() | Misread() if re.fullmatch(r"[0-9]{1,6}", typed):
            return f"write {location[-1]}: {int(typed)}"
        case "true or false", str() | Misread() if typed.lower() in _YES | _NO:
            return f"write {location[-1]}: {'true' if typed.lower() in _YES else 'false'}"
    return f"write {_example(location)}"


def _unknown(location: Location) -> tuple[str, str]:
    *around, key = (str(part) for part in location)
    known = list(_schema_of(location[:-1]).get("properties", {}))
    what = "there is no such key"
    if not around and key in RESERVED:
        return f"this key is reserved {RESERVED[key]}", "delete it"
    homes = list(_homes(key, _schema()))
    if homes := [home for home in homes if around and home.startswith(around[0])] or homes:
        return "this key does not belong here", f"write it under {' or '.join(homes)}"
    if near := get_close_matches(key.lower(), known, n=1):
        return what, f"write {near[0]}"
    return what, f"delete it; the keys are {', '.join(known)}"


def _choice(value: object, location: Location) -> tuple[str, str]:
    shape = _schema_of(location)
    choices = [str(choice) for choice in shape.get("enum") or [shape["const"]]]
    if value is None:
        return "nothing is written here", f"write {_example(location)}"
    if str(value) in choices:
        return f"{show(value)} in quotes is text", f"write {location[-1]}: {value}"
    likely = get_close_matches(str(value).lower(), choices, n=1) or choices
    return f"{show(value)} is not known", f"write {location[-1]}: {' or '.join(likely)}"


def _too_few(location: Location, count: int) -> tuple[str, str]:
    if location == ("nodes",) and count == 1:
        return "one node is too few: an overlay network joins two or more", "add a second node"
    return "nothing is written here", f"write {_example(location)}"


def _example(location: Location) -> str:
    return f"{dotted(location[-1:])}: {_flow(_filled(_schema_of(location)))}"


def _filled(shape: Shape) -> object:
    """Return the example of the schema, or one made of the required keys, or else of the first key."""
    if "properties" not in shape:
        return shape.get("examples", ["…"])[0]
    wanted = shape.get("required") or list(shape["properties"])[:1]
    return {key: _filled(_resolved(shape["properties"][key])) for key in wanted}


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    return str(value)


def _schema_of(location: Location) -> Shape:
    shape = _schema()
    for part in location:
        inside = shape.get("properties", {}).get(part) or shape.get("additionalProperties") or {}
        shape = _resolved(inside)
    return shape


def _resolved(shape: Shape) -> Shape:
    """Follow a reference, and use the first of several types; `null` is never the first."""
    inner: Shape = shape.get("anyOf", [shape])[0]
    if "$ref" in inner:
        inner = _schema()["$defs"][inner["$ref"].rpartition("/")[2]]
    return {**inner, **{key: value for key, value in shape.items() if key == "examples"}}


def _homes(key: str, shape: Shape, place: str = "") -> Iterator[str]:
    """Yield the sections that have a key: `ssh`, `nodes.NAME.ssh`."""
    for name, inside in shape.get("properties", {}).items():
        inner, within = _resolved(inside), f"{place}{name}"
        if named := inner.get("additionalProperties"):
            inner, within = _resolved(named), f"{within}.NAME"
        if key in inner.get("properties", {}):
            yield within
        yield from _homes(key, inner, f"{within}.")


@cache
def _schema() -> Shape:
    return schema()


def dotted(location: Location) -> str:
    """Return a location as `nodes.node1.address`."""
    return ".".join(visible(str(part)) for part in location)
