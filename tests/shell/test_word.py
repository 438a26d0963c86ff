"""Waiting for word of other hosts' containers, in the shells of nodes; what the kernel knows is the test's to say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from node_shell import SHELLS

from provision.checks import probe_pool

#: It enters no namespace, and the neighbours are those of a file. Functions: busybox has both commands in itself.
STUBS = """
nsenter() { body=$4; shift 5; (eval "$body"); }
ip() { grep "^$4 " "$NEIGHBOURS"; }
"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("known", "code"),
    [
        ("10.99.0.3 dev vxlan0 PERMANENT\n10.99.0.4 dev vxlan0 PERMANENT\n", 0),
        ("10.99.0.3 dev vxlan0 PERMANENT\n10.99.0.4 dev vxlan0 FAILED\n", 1),
        ("10.99.0.3 dev vxlan0 PERMANENT\n", 1),
    ],
    ids=["of all", "one asked for in vain", "one missing"],
)
def test_word_has_come_when_the_way_to_each_is_known(
    tmp_path: Path, shell: tuple[str, ...], known: str, code: int
) -> None:
    (tmp_path / "neighbours").write_text(known)
    script = f"{STUBS}\nset -- 0123456789abcdef 10.99.0.3 10.99.0.4\n{probe_pool._WORD}"
    environment = os.environ | {"NEIGHBOURS": str(tmp_path / "neighbours")}
    assert subprocess.run([*shell, "-c", script], env=environment, timeout=30, check=False).returncode == code
