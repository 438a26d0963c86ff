"""The commands in docs/ are verbs and flags that exist. Tests on hosts run them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from documented import PAGES, documented
from invoke import Collection
from invoke.parser import Parser

import fabfile

ROOT = Path(__file__).parents[2]


def contexts() -> Parser:
    return Parser(contexts=Collection.from_module(fabfile).to_contexts())


def parts(words: list[str]) -> list[list[str]]:
    """The commands of a pipe, without the file that takes its output."""
    line, *_ = " ".join(words).partition(" > ")
    return [part.split() for part in line.split("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_command_of_a_page_can_be_parsed(page: Path) -> None:
    commands = [part for words in documented(page.stem) for part in parts(words) if part[0] == "fab"]
    assert commands
    for words in commands:
        contexts().parse_argv(words[1:])


def headings(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    found = re.findall(r"(?m)^#+ (.*)$", page.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=lambda path: path.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not heading or heading in headings(there), heading


def test_the_readme_leads_to_each_page_once() -> None:
    targets = re.findall(r"\]\((docs/[^)#]*)", (ROOT / "README.md").read_text())
    assert sorted(targets) == [f"docs/{page.name}" for page in PAGES]


def test_a_flag_that_does_not_exist_would_be_seen() -> None:
    with pytest.raises(Exception, match="no-such-flag"):
        contexts().parse_argv(shlex.split("recover --no-such-flag"))
