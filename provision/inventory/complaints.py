"""What pydantic finds, said in the words of the inventory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from provision.inventory.document import RESERVED, Document
from provision.inventory.mistakes import Location, Mistake, Wrong, show, visible
from provision.inventory.reader import Misread, Page, Refused, reading

_MEANT = {
    "string_type": "text",
    "int_type": "a number",
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
    return None, tuple(_mistake(each, page) for each in details if not isinstance(each["input"], Refused))


def _mistake(error: ErrorDetails, page: Page) -> Mistake:
    # A mistake in a key ends in "[key]".
    location = tuple(part for part in error["loc"] if part != "[key]")
    what, advice = _words(error, location)
    return Mistake(page.line(location), what, advice)


def _words(error: ErrorDetails, location: Location) -> tuple[str, str]:
    name, value = dotted(location), error["input"]
    match error["type"]:
        case "missing":
            return f"{name} is missing", f"add {_example(location)}"
        case "extra_forbidden":
            return _unknown(location)
        case "literal_error":
            return _choice(error, location)
        case "too_short":
            return _too_few(location, len(value))
        case "value_error":
            wrong = error["ctx"]["error"]
            if isinstance(wrong, Wrong):
                return f"{name}: {wrong.what}", wrong.advice
    meant = _MEANT.get(error["type"])
    if meant is None:
        return f"{name}: {error['msg']}", f"write {_example(location)}"
    return f"{name}: {_taken(value)}, where {meant} is meant", _instead(value, meant, location)


def _taken(value: object) -> str:
    if value is None:
        return "nothing is written"
    if isinstance(value, list | dict):
        return f"this is {reading(value)}"
    return f"{show(value)} is {'taken for ' if isinstance(value, Misread) else ''}{reading(value)}"


def _instead(value: object, meant: str, location: Location) -> str:
    match meant, value:
        case "text", int() | Misread() if location[-1] not in ("address", "subnet"):
            return f'put it in quotes: {location[-1]}: "{str(value).lower() if value is True else value}"'
        case "a number", str() | Misread() if re.fullmatch(r"0*[0-9]{1,5}", str(value)):
            return f"write {location[-1]}: {int(str(value))}"
        case "true or false", Misread() | str():
            yes = str(value).lower() in ("y", "yes", "on", "true")
            return f"write {location[-1]}: {'true' if yes else 'false'}"
    return f"write {_example(location)}"


def _unknown(location: Location) -> tuple[str, str]:
    *around, key = location
    known = _model(tuple(around)).model_fields
    what = f"there is no key {show(key)}" + (f" in {dotted(tuple(around))}" if around else "")
    if not around and key in RESERVED:
        return f"{show(key)} is reserved {RESERVED[str(key)]}", "delete it"
    if near := get_close_matches(str(key).lower(), known, n=1):
        return what, f"write {near[0]}"
    if elsewhere := _homes(str(key)):
        return what, f"it belongs under {' or '.join(elsewhere)}"
    return what, f"delete it; known here: {', '.join(known)}"


def _choice(error: ErrorDetails, location: Location) -> tuple[str, str]:
    choices = re.findall(r"'([^']+)'|(\d+)", error["ctx"]["expected"])
    words = ["".join(choice) for choice in choices]
    value = error["input"]
    near = get_close_matches(str(value).lower(), words, n=1)
    advice = near[0] if near or len(words) == 1 else " or ".join(words)
    return (
        f"{dotted(location)}: {show(value)} is not known",
        f"write {location[-1]}: {near[0] if near else advice}",
    )


def _too_few(location: Location, count: int) -> tuple[str, str]:
    if location == ("nodes",) and count == 1:
        return "nodes: one is too few, an overlay network joins two hosts or more", "add a second node"
    return f"{dotted(location)} is empty", f"write {_example(location)}"


def _example(location: Location) -> str:
    key = location[-1]
    field = _model(location[:-1]).model_fields.get(str(key))
    if field is None:
        inside = _model(location).model_fields
        return _flow({key: {name: each.examples[0] for name, each in inside.items() if each.examples}})[1:-1]
    if not field.examples:
        return f"{key}: …"
    return _flow({key: field.examples[0]})[1:-1]


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{visible(str(key))}: {_flow(each)}" for key, each in value.items()) + "}"
    return str(value)


def _model(location: Location) -> type[BaseModel]:
    """Return the section that a location is, or is in."""
    section: type[BaseModel] = Document
    for part in location:
        field = section.model_fields.get(str(part))
        section = next(_sections(field.annotation), section) if field else section
    return section


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _homes(key: str, section: type[BaseModel] = Document, place: str = "") -> list[str]:
    homes = []
    for name, field in section.model_fields.items():
        for inner in _sections(field.annotation):
            within = f"{place}{name}:"
            homes += [within] if key in inner.model_fields else []
            homes += _homes(key, inner, f"{within} ")
    return homes


def dotted(location: Location) -> str:
    """Return a location as `nodes.node1.address`."""
    return ".".join(visible(str(part)) for part in location)
