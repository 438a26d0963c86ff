"""Runs in the background, during which a test does something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provision.lab import Lab

ROOT = Path(__file__).parents[2]


def begin(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """Start `fab -i INVENTORY WORDS`, in a session of its own. It ends on SIGINT, whatever a script's `&` has set."""
    fab = str(Path(sys.executable).with_name("fab"))
    return subprocess.Popen(
        ["env", "--default-signal=INT", fab, "-i", str(lab.inventory), *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Wait until the run prints these words to stderr."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"the run ended before it printed {words!r}")
