"""A shell that is attached: a real one behind Docker's framing, which here a thread puts around what it says."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from node_shell import SHELLS, STRANGE

from provision.checks.attached_shell import AttachedShell, ShellLostError


@dataclass(frozen=True)
class Api:
    """Docker's part: it gives the stream of a container."""

    stream: socket.socket

    def attach_socket(self, container: str, params: dict[str, int]) -> socket.socket:
        assert (container, params) == ("probe", {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        return self.stream


@dataclass(frozen=True)
class Served:
    """A shell as a container has it, and what is attached to it."""

    process: subprocess.Popen[bytes]
    attached: AttachedShell


@pytest.fixture(params=SHELLS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    ours, dockers = socket.socketpair()
    with ours, dockers:
        pipe = {"stdin": dockers, "stdout": subprocess.PIPE, "bufsize": 0}
        with subprocess.Popen([*request.param], **pipe) as process:
            framing = threading.Thread(target=_frame, args=(process, dockers))
            framing.start()
            yield Served(process, AttachedShell(Api(ours), "probe"))  # type: ignore[arg-type]
            process.kill()
            framing.join()


def _frame(process: subprocess.Popen[bytes], to: socket.socket) -> None:
    """Send what it says in pieces, a byte here and many there, as Docker may cut them."""
    assert process.stdout
    size = 1
    while piece := process.stdout.read(size):
        to.sendall(b"\1\0\0\0" + len(piece).to_bytes(4) + piece)
        size = size % 7 * 1000 + 1
    to.shutdown(socket.SHUT_RDWR)


def test_what_a_script_says_comes_back_its_complaints_too(served: Served) -> None:
    assert served.attached.run('echo "$1"; echo "$2" >&2; printf end', "a b", STRANGE) == f"a b\n{STRANGE}\nend"


def test_one_script_after_another_each_with_words_of_its_own(served: Served) -> None:
    assert [served.attached.run('x=$1; echo "$# $x"', *words) for words in (["1", "2"], [], ["*"])] == [
        "2 1\n",
        "0 \n",
        "1 *\n",
    ]


def test_a_script_that_ends_or_reads_takes_nothing_from_the_next(served: Served) -> None:
    assert served.attached.run("cat; echo before; exit 3") == "before\n"
    assert served.attached.run("echo after") == "after\n"


def test_much_comes_whole(served: Served) -> None:
    assert served.attached.run("head -c 300000 /dev/zero | tr '\\0' x") == "x" * 300_000


def test_a_shell_that_is_let_go_of_hears_the_end(served: Served) -> None:
    served.attached.close()
    assert served.process.wait(timeout=10) == 0
    served.attached.close()


def test_a_shell_that_has_ended_is_told(served: Served) -> None:
    served.process.kill()
    served.process.wait()
    with pytest.raises(ShellLostError, match="the shell in a container is lost"):
        served.attached.run("echo never")
