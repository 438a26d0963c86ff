"""A run that is killed, and two runs at the same time."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import Fab
from invariants import assert_settled, await_so
from observe import document, run
from runs import begin, wait_for

from provision import inventory
from provision import lab as labs
from provision.errors import Exit
from provision.lab import Lab
from provision.planes.etcd import pki

pytestmark = pytest.mark.lab


def test_56_an_interrupt_is_told_and_the_next_run_goes_on(bare_lab: Lab, fab: Fab) -> None:
    with begin(bare_lab, "provision") as process:
        wait_for(process, "docker:")
        process.send_signal(signal.SIGINT)
        told = process.stderr.read() if process.stderr else ""
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert_settled(bare_lab, fab)


@pytest.mark.parametrize("minutes", [5, pytest.param(-5, marks=pytest.mark.whole)])
def test_69_certificates_of_a_controller_whose_clock_is_five_minutes_off_hold(
    bare_lab: Lab, fab: Fab, minutes: int
) -> None:
    pki.make(inventory.load(bare_lab.inventory), datetime.now(UTC) + timedelta(minutes=minutes))
    document(fab(bare_lab, "provision", "--json"))
    assert_settled(bare_lab, fab)


#: Replaces useradd. It ignores SIGTERM, and the first one takes a minute, longer than the test needs on a busy machine.
#: Each one writes the time at its start, and adds a line with the time as long as it runs.
SLOW = """\
#!/bin/sh
trap '' TERM
long=600
ls /run/slow.*.began >/dev/null 2>&1 && long=1
date +%s.%N >/run/slow.$$.began
for _ in $(seq $long); do date +%s.%N >>/run/slow.$$.alive; sleep 0.1; done
exec /usr/sbin/useradd "$@"
"""


def test_71_72_the_winner_killed_in_a_long_step_makes_way_and_the_next_change_comes_after_that_steps_end(
    bare_lab: Lab, fab: Fab
) -> None:
    useradd = "/usr/local/sbin/useradd"
    labs.execute(bare_lab.name, "node1", ["sh", "-c", f"cat >{useradd}; chmod +x {useradd}"], input=SLOW)
    with begin(bare_lab, "provision") as winner:
        await_so(bare_lab, "node1", "cat /run/slow.*.alive")
        refused = document(fab(bare_lab, "provision", "--json"), 6)
        os.killpg(winner.pid, signal.SIGKILL)
    assert re.match(rf"locked by `provision` of \w+@{socket.gethostname()} since 20", refused["problems"][0]["what"])
    deadline = time.monotonic() + 15
    while (third := fab(bare_lab, "provision", "--json")).returncode == Exit.LOCKED:
        assert time.monotonic() < deadline
    document(third)
    began = sorted(run(bare_lab, "node1", "cat /run/slow.*.began").split())
    alive = sorted(run(bare_lab, "node1", "tail -qn1 /run/slow.*.alive").split())
    assert len(began) == len(alive) == 2
    assert began[0] < alive[0] < began[1]


def test_of_two_runs_one_works_and_the_other_names_it(lab: Lab, fab: Fab, tmp_path: Path) -> None:
    (tmp_path / "long.sh").write_text("sleep 100\n")
    with begin(lab, "run", str(tmp_path / "long.sh")) as first:
        wait_for(first, "running")
        second = document(fab(lab, "provision", "--json"), 6)
        assert "locked by `run`" in second["problems"][0]["what"]
        os.killpg(first.pid, signal.SIGKILL)
    assert document(fab(lab, "plan", "--json"))["exit_code"] == 0
