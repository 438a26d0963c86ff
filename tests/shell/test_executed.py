"""A script in a container: a real shell behind Docker's framing, and a client that loses what is said too early."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from node_shell import SHELLS, STRANGE

from provision.checks.attached_shell import executed


class Api:
    """Docker's part. What the script says before it waits for input is lost, as docker-py loses it."""

    def __init__(self, shell: tuple[str, ...], work: ExitStack) -> None:
        self.shell, self.work = shell, work
        self.command: tuple[str, ...] = ()

    def exec_create(self, container: str, command: list[str], *, stdin: bool) -> dict[str, str]:
        assert (container, command[0], stdin) == ("keeper", "sh", True)
        self.command = (*self.shell, *command[1:])
        return {"Id": "exec"}

    def exec_start(self, _: str, *, socket: bool) -> socket.socket:
        assert socket
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "bufsize": 0}
        process = self.work.enter_context(subprocess.Popen(self.command, **pipes))
        _lose_what_is_said_early(process)
        return self.work.enter_context(_framed(process))


def _lose_what_is_said_early(process: subprocess.Popen[bytes]) -> None:
    folder = Path("/proc", str(process.pid))
    waits = ("pipe_read", "poll")  # in the kernel, for input: dash, and busybox
    while (
        not any(word in (folder / "wchan").read_text() for word in waits) and " Z " not in (folder / "stat").read_text()
    ):
        pass
    assert process.stdout
    os.set_blocking(process.stdout.fileno(), False)
    process.stdout.read()
    os.set_blocking(process.stdout.fileno(), True)


def _framed(process: subprocess.Popen[bytes]) -> socket.socket:
    ours, dockers = socket.socketpair()

    def relay() -> None:
        with dockers:
            assert process.stdin
            assert process.stdout
            process.stdin.write(dockers.recv(100))
            while piece := process.stdout.read(1000):
                dockers.sendall(b"\1\0\0\0" + len(piece).to_bytes(4) + piece)

    threading.Thread(target=relay, daemon=True).start()
    return ours


@pytest.fixture(params=SHELLS)
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    with ExitStack() as work:
        yield Api(request.param, work)


def test_what_a_script_says_at_once_is_not_lost(api: Api) -> None:
    script = 'echo "$1"; echo "$2" >&2; printf end'
    assert executed(api, "keeper", script, "a b", STRANGE) == f"a b\n{STRANGE}\nend"  # type: ignore[arg-type]


def test_a_script_that_reads_gets_nothing_and_much_comes_whole(api: Api) -> None:
    script = "cat; head -c 300000 /dev/zero | tr '\\0' x"
    assert executed(api, "keeper", script) == "x" * 300_000  # type: ignore[arg-type]
