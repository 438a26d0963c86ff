"""The commands in docs/, for tests that run them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGES = tuple(sorted(DOCS.glob("*.md")))


def documented(page: str) -> list[list[str]]:
    """Return the commands of a page, given without `.md`, in their order: the lines of its blocks of sh, as words."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```$", (DOCS / f"{page}.md").read_text(encoding="utf-8"))
    return [shlex.split(line) for block in blocks for line in block.splitlines()]
