"""Numbers on the command line."""

from __future__ import annotations

from provision.errors import Problem, UsageError


def whole(text: str, option: str, what: str, most: int) -> int:
    """Return the whole number from 1 to `most` that an option has. UsageError if it has something else."""
    if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most:
        return int(text)
    advice = f"write a number from 1 to {most}"
    raise UsageError(Problem(f"{text or 'nothing'} is not a number of {what}", option, advice))
