"""A small right inventory, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision import inventory, planes
from provision.errors import Exit, InventoryError, Problem
from provision.inventory.model import Cluster

RIGHT = """\
version: 1
cluster: demo
nodes:
  node1: {address: 192.0.2.1}
  node2: {address: 192.0.2.2}
etcd:
  source: etcd.tar.gz
overlay:
  networks:
    demo: {subnet: 10.99.0.0/24}
"""


def changed(old: str, new: str) -> str:
    assert old in RIGHT
    return RIGHT.replace(old, new, 1)


def loaded(folder: Path, content: str | bytes) -> Cluster:
    path = folder / "inventory.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return inventory.load(path, planes.ports())


def mistakes(folder: Path, content: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(InventoryError) as caught:
        loaded(folder, content)
    assert caught.value.exit_code is Exit.USAGE
    return caught.value.problems


def assert_only(problems: tuple[Problem, ...], line: int, what: str, advice: str) -> None:
    """There is one mistake: at that line, said and advised with those words."""
    assert len(problems) == 1, [str(problem) for problem in problems]
    assert_one(problems[0], line, what, advice)


def assert_one(problem: Problem, line: int, what: str, advice: str) -> None:
    assert problem.where.endswith(f"/inventory.yml:{line}"), problem.where
    assert what in problem.what
    assert advice in problem.advice
