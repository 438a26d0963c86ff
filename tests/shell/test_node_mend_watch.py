"""The loop of the program that mends Docker's errors: when it reads the store, looks at rows, brings threads back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mend_program import FUNCTIONS, OWN, SECOND, Program, endpoint, forwarding, space
from node_shell import SHELLS


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


def await_true(condition: Callable[[], bool], limit: float = 30) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


#: The loop, with a store whose watch prints the contents of a file. Its actions are written to a file.
WATCH = """
store() {{ case $* in *watch*) cat "$OVERLAY_RUN/events"; exec sleep 60 ;; esac; }}
did() {{ echo "$*" >>"$OVERLAY_RUN/did"; }}
listed() {{ did read; echo '{endpoint}'; }}
rows() {{ echo "{rows}"; }}
living() {{ :; }}
neighbours() {{ :; }}
empty() {{ :; }}
recount() {{ :; }}
put_names_back() {{ :; }}
bring_home() {{ did home; }}
mend() {{ did mend; }}
again=0.01 busy=0.01 hurry=3
{more}
watch
"""


@contextmanager
def watching(
    mend: Program, rows: str, *, events: str = "", more: str = "", joined: bool = True
) -> Iterator[Callable[[], list[str]]]:
    """Run the loop during the block; yield a function that returns its actions so far."""
    if joined:
        (mend.folder / "docker.joined").touch()
    (mend.folder / "events").write_text(events)
    did = mend.folder / "did"
    script = f"{FUNCTIONS}\n{mend.awk}{WATCH.format(endpoint=endpoint(SECOND), rows=rows, more=more)}"
    (mend.folder / "program").write_text(script)
    environment = {"OVERLAY_PKI": str(mend.folder), "OVERLAY_RUN": str(mend.folder), "PATH": "/usr/bin:/bin"}
    command = [*mend.command, str(mend.folder / "program")]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield lambda: did.read_text().splitlines() if did.exists() else []
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_row_that_stays_wrong_whatever_is_done_is_hurried_after_for_some_looks_only(mend: Program) -> None:
    naps = "nap() { did nap; sleep 0.01; }"
    with watching(mend, space(forwarding(OWN)), more=f"{naps}\nfollow() {{ sleep 60; }}") as did:
        await_true(lambda: did().count("nap") > 60)
        done = did()
    first = done.index("read")
    hurried = done[first : done.index("nap", first)]
    assert hurried.count("read") == 3  # at the beginning, and twice in quick succession
    assert done.count("read") <= 3 * (1 + done.count("nap") // 24)


def test_the_first_look_waits_until_dockerd_is_on_the_store(mend: Program) -> None:
    slept = "sleep() { did sleep; command sleep 0.01; }"
    with watching(mend, space(), more=slept, joined=False) as did:
        await_true(lambda: did().count("sleep") > 3)
        assert "read" not in did()
        (mend.folder / "docker.joined").touch()
        await_true(lambda: "read" in did())


def test_a_change_of_the_store_ends_a_nap_and_an_endpoints_end_brings_threads_home(mend: Program) -> None:
    with watching(mend, space(), events="[delete] /docker/x\n\n", more="quiet=600") as did:
        await_true(lambda: did().count("read") >= 1)  # when the watch has begun
        await_true(lambda: did().count("home") == 3)  # at the beginning, now, and in the next quiet look
