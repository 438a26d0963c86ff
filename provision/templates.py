"""The Jinja templates. They are strict: an undefined name is an error, not an empty text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    package = Path(__file__).parent
    # Beside the package in a checkout, inside it in a wheel.
    folders = [package / "templates", package.parent / "templates"]
    return Environment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (the output is configuration, not HTML)
    )


def render(template: str, **values: object) -> bytes:
    """Return a template filled with values. jinja2.UndefinedError if it uses a value that is not given."""
    return _environment().get_template(template).render(**values).encode()
