"""The port matrix between many hosts on one busy core, and behind a slow switch: twenty tries, in namespaces."""

from __future__ import annotations

from pathlib import Path

import pytest
from flows import ONE_CORE, SHUT, busy, cluster, measured, shut
from namespaces import hosts, slow


@pytest.mark.whole
@pytest.mark.parametrize("blocking", [False, True], ids=["open", "shut"])
@pytest.mark.parametrize("milliseconds", [0, 50])
def test_113_twenty_tries_call_no_open_flow_blocked_and_miss_none(
    tmp_path: Path, milliseconds: int, blocking: bool
) -> None:
    many = cluster(4 if milliseconds else 20, tmp_path)
    with busy(), hosts(many, tmp_path, ONE_CORE) as there, slow(there, milliseconds):
        if blocking:
            shut(there)
        for _ in range(20):
            assert set(measured(there, many).blocked) == (SHUT if blocking else set())
