"""A run that goes on while the test does something to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provision.lab import Lab

ROOT = Path(__file__).parents[2]


def begin(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """Start `fab -i INVENTORY WORDS`, in a session of its own."""
    fab = str(Path(sys.executable).with_name("fab"))
    return subprocess.Popen(
        [fab, "-i", str(lab.inventory), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Until it says so."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it ended before it said {words!r}")
