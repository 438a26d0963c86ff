"""What script/setup installs is what pyproject.toml asks for, each file known by its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
ASKED = {
    "build": PROJECT["build-system"]["requires"],
    "use": PROJECT["project"]["dependencies"],
    "test": PROJECT["project"]["dependencies"] + EXTRAS["test"],
}


def entries(name: str) -> list[str]:
    """What a lock names, an entry with its hashes on a line."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", "")
    return [line for line in text.splitlines() if not line.startswith("#")]


def pins(name: str) -> dict[str, str]:
    """Package to version, of those that this Python needs."""
    found = (Requirement(entry.partition("--hash")[0]) for entry in entries(name))
    needed = (one for one in found if one.marker is None or one.marker.evaluate())
    return {one.name: str(one.specifier).removeprefix("==") for one in needed}


@pytest.mark.parametrize("name", ASKED)
def test_a_lock_has_what_is_asked_for_in_a_version_that_fits(name: str) -> None:
    pinned = pins(name)
    for asked in map(Requirement, ASKED[name]):
        assert asked.specifier.contains(pinned[re.sub(r"[._]", "-", asked.name)]), f"{asked}: run script/lock"


@pytest.mark.parametrize("name", ASKED)
def test_everything_in_a_lock_has_one_version_and_its_hashes_and_no_place_to_come_from(name: str) -> None:
    for entry in entries(name):
        assert re.fullmatch(r"[\w.-]+==[\w.]+ +(; [^;]+ +)?(--hash=sha256:[0-9a-f]{64} *)+", entry)


def test_tests_run_on_the_versions_that_are_used() -> None:
    tested = pins("test")
    for name in ("build", "use"):
        for package, version in pins(name).items():
            assert tested.get(package, version) == version
