"""The text of an inventory file."""

from __future__ import annotations

import stat
from pathlib import Path

from provision.errors import InventoryError, Problem, UsageError
from provision.inventory.errors import Mistake, describe, is_unseen, visible

SIZE_LIMIT = 100_000
"""The most bytes of an inventory; the YAML scanner takes 1 s for the worst file of this size."""

_NAME_IT = "name the inventory file itself: fab -i PATH/inventory.yml VERB"


def read(path: Path) -> str:
    """Return the text. UsageError if there is no such file, InventoryError if the file is not text."""
    where = visible(str(path))
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "this is a folder" if stat.S_ISDIR(kind) else "this is not an ordinary file"
            raise InventoryError(Problem(what, where, _NAME_IT))
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        advice = "write one: fab init --host ADDRESS --host ADDRESS; or name another file: fab -i PATH VERB"
        raise UsageError(Problem("there is no such inventory", where, advice)) from None
    except OSError as error:
        advice = f"see who may read the file: ls -l {where}"
        raise InventoryError(Problem(f"cannot be read: {error.strerror}", where, advice)) from None
    if len(content) > SIZE_LIMIT:
        raise InventoryError(Problem(f"over {SIZE_LIMIT // 1000} kB: this is not an inventory", where, _NAME_IT))
    text, mistakes = decode(content)
    if mistakes:
        raise InventoryError(*(mistake.problem(path) for mistake in mistakes))
    return text


def decode(content: bytes) -> tuple[str, tuple[Mistake, ...]]:
    """Return the text, and a mistake for every line with a character that an editor does not show."""
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text: the byte 0x{content[error.start]:02x}"
        return "", (Mistake(line, what, "save the file as UTF-8, or name the inventory if this is another file"),)
    unseen = (
        (number, next((c for c in line if is_unseen(c) and c != "\t"), None))
        for number, line in enumerate(text.split("\n"), start=1)
    )
    mistakes = (
        Mistake(number, f"an invisible character, {describe(character)}", "delete it: type the line again")
        for number, character in unseen
        if character
    )
    return text, tuple(mistakes)
