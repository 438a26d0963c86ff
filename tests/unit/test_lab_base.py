"""The cache of base trees, with a recipe that takes no time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from provision.errors import StepFailed
from provision.lab import base
from provision.lab.recipe import Recipe, Say


class Kitchen:
    """A recipe that counts how often it was followed, and can be told to fail."""

    def __init__(self) -> None:
        self.built = 0
        self.content = "content"
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.recipe = Recipe("digest", ("tree/bin/sh", "etcd-*.tar.gz"), self.build)

    def build(self, folder: Path, say: Say) -> None:
        self.built += 1
        (folder / "tree/bin").mkdir(parents=True)
        (folder / "tree/bin/sh").write_text(self.content)
        self.entered.set()
        self.go_on.wait(10)
        (folder / "etcd-3.tar.gz").write_text("archive")


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


def ensure(kitchen: Kitchen, cache: Path) -> base.Base:
    return base.ensure(lambda _: None, kitchen.recipe, cache)


def test_it_is_built_once(kitchen: Kitchen, tmp_path: Path) -> None:
    first, second = ensure(kitchen, tmp_path), ensure(kitchen, tmp_path)
    assert first == second
    assert first.etcd.name == "etcd-3.tar.gz"
    assert kitchen.built == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / base.STAMP).unlink(),
        lambda folder: (folder / base.STAMP).write_text(""),
        lambda folder: (folder / base.STAMP).write_text("{}"),
        lambda folder: (folder / "tree/bin/sh").unlink(),
        lambda folder: (folder / "tree/bin/sh").write_text(""),
        lambda folder: (folder / "tree/bin/sh").write_text("cont"),
        lambda folder: (folder / "etcd-3.tar.gz").unlink(),
    ],
    ids=[
        "no stamp",
        "empty stamp",
        "stamp of nothing",
        "file gone",
        "file empty",
        "file cut",
        "archive gone",
    ],
)
def test_a_broken_one_is_built_anew(kitchen: Kitchen, tmp_path: Path, damage: object) -> None:
    made = ensure(kitchen, tmp_path)
    assert callable(damage)
    damage(made.folder)
    said: list[str] = []
    base.ensure(said.append, kitchen.recipe, tmp_path)
    assert kitchen.built == 2
    assert base.is_intact(made.folder, kitchen.recipe)
    assert "broken" in said[0]


def test_what_a_killed_build_left_is_no_base(kitchen: Kitchen, tmp_path: Path) -> None:
    left = tmp_path / "digest.building"
    left.mkdir()
    (left / "junk").touch()
    made = ensure(kitchen, tmp_path)
    assert not left.exists()
    assert not (made.folder / "junk").exists()


def test_a_build_that_leaves_an_essential_file_empty_fails(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.content = ""
    with pytest.raises(StepFailed, match="lacks files"):
        ensure(kitchen, tmp_path)
    assert not (tmp_path / "digest").exists()
    kitchen.content = "content"
    ensure(kitchen, tmp_path)


def test_two_at_once_build_one(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.go_on.clear()
    said: list[str] = []
    waiting = threading.Event()

    def say(words: str) -> None:
        said.append(words)
        waiting.set()

    first = threading.Thread(target=ensure, args=(kitchen, tmp_path))
    second = threading.Thread(target=base.ensure, args=(say, kitchen.recipe, tmp_path))
    first.start()
    assert kitchen.entered.wait(10)
    second.start()
    assert waiting.wait(10)
    kitchen.go_on.set()
    for thread in (first, second):
        thread.join(10)
    assert kitchen.built == 1
    assert said == ["waiting for another lab that is making the base tree"]
