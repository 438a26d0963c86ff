"""A run that dies, and two at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Fab
from observe import document, everything

from provision.lab import Lab

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


def begin(lab: Lab, *words: str) -> subprocess.Popen[str]:
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
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it ended before it said {words!r}")


@pytest.mark.parametrize("step", ["host: upload", "pki:", "etcd:", "docker:", "create network", "proving"])
def test_a_run_killed_in_the_middle_of_a_phase_is_completed_by_the_next(bare_lab: Lab, fab: Fab, step: str) -> None:
    with begin(bare_lab, "provision") as process:
        wait_for(process, step)
        os.killpg(process.pid, signal.SIGKILL)
    document(fab(bare_lab, "provision", "--json"))
    seen = everything(bare_lab)
    assert document(fab(bare_lab, "provision", "--json"))["changes"] == []
    assert everything(bare_lab) == seen


def test_of_two_runs_one_works_and_the_other_names_it(lab: Lab, fab: Fab, tmp_path: Path) -> None:
    (tmp_path / "long.sh").write_text("sleep 100\n")
    with begin(lab, "run", str(tmp_path / "long.sh")) as first:
        wait_for(first, "running")
        second = document(fab(lab, "provision", "--json"), 6)
        assert "locked by `run`" in second["problems"][0]["what"]
        os.killpg(first.pid, signal.SIGKILL)
    assert document(fab(lab, "plan", "--json"))["exit_code"] == 0
