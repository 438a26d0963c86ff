"""The port matrix with its real scripts, in network namespaces: behind a slow switch, with blocked flows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flows import SHUT, cluster, measured, shut
from namespaces import hosts, slow

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


@pytest.mark.parametrize("blocking", [False, True], ids=["open", "shut"])
def test_53_what_is_blocked_is_found_and_nothing_else(tmp_path: Path, blocking: bool) -> None:
    three = cluster(3, tmp_path)
    with hosts(three, tmp_path) as there:
        if blocking:
            shut(there)
        matrix = measured(there, three)
    assert set(matrix.blocked) == (SHUT if blocking else set())
    assert matrix.vanished == {}
    assert len(matrix.sizes) == 6


@pytest.mark.parametrize("blocking", [False, True], ids=["open", "shut"])
def test_113_behind_a_slow_switch_what_is_open_is_open_and_what_is_shut_is_shut(tmp_path: Path, blocking: bool) -> None:
    four = cluster(4, tmp_path)
    with hosts(four, tmp_path) as there, slow(there, 50):
        if blocking:
            shut(there)
        assert set(measured(there, four).blocked) == (SHUT if blocking else set())
