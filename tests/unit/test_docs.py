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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_a_flag_that_does_not_exist_would_be_seen() -> None:
    with pytest.raises(Exception, match="no-such-flag"):
        contexts().parse_argv(shlex.split("recover --no-such-flag"))
