"""What a run says if a daemon closes its connection in the middle: one message, never the client's own exception."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
import requests

from provision.command_line import _settled
from provision.docker.client import asked, over_socket, retry
from provision.errors import Exit, StepFailed, Unanswered
from provision.report import Report

#: What belongs to a client's own words.
RAW = re.compile(
    r"127\.0\.0\.1|localhost|https?:|http\+docker|\w+Error\b|\w+Exception\b|object at 0x|<class|Errno|Traceback"
)
#: What the server sends before it closes the connection.
ANSWERS = (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", b"no daemon at all\r\n")


@pytest.fixture(params=ANSWERS, ids=["nothing", "a line", "half an answer", "something else"])
def answer(request: pytest.FixtureRequest) -> bytes:
    content: bytes = request.param
    return content


@pytest.fixture
def closes(answer: bytes) -> Iterator[Callable[[socket.socket], None]]:
    """Return a function that serves on a socket: read something, send the answer, close."""
    servers: list[socket.socket] = []

    def serve(server: socket.socket) -> None:
        server.listen()
        servers.append(server)

        def work() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        threading.Thread(target=work, daemon=True).start()

    yield serve
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def port(closes: Callable[[socket.socket], None]) -> int:
    server = socket.create_server(("127.0.0.1", 0))
    closes(server)
    return int(server.getsockname()[1])


@pytest.fixture
def path(closes: Callable[[socket.socket], None], tmp_path: Path) -> Path:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "docker.sock"))
    closes(server)
    return tmp_path / "docker.sock"


def reported(call: Callable[[], object]) -> str:
    """Return what the run says if the call ends a verb."""

    def verb() -> Report:
        call()
        raise AssertionError("the connection was closed")

    report = _settled(verb, "provision")
    assert report.exit_code is Exit.STEP_FAILED
    (problem,) = report.problems
    assert problem.where
    assert problem.advice
    assert not RAW.search(str(problem)), problem
    return problem.what


def test_215_a_docker_that_closes_the_connection_is_named_once(path: Path) -> None:
    assert "Docker" in reported(lambda: over_socket("node1", str(path)).networks.list())


def test_215_http_tls_and_ssh_that_close_the_connection_are_named_once(port: int) -> None:
    reported(lambda: requests.get(f"https://127.0.0.1:{port}/networks", timeout=10))

    def login() -> None:
        with paramiko.SSHClient() as client:
            client.connect("127.0.0.1", port, username="root", password="x", banner_timeout=5, allow_agent=False)

    reported(login)


def test_215_what_waits_for_docker_says_what_is_wrong_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.docker.client.RETRY_SECONDS", 0.1)

    def call() -> object:
        return over_socket("node1", str(path)).networks.list()

    with pytest.raises(Unanswered) as unanswered:
        asked(call)
    with pytest.raises(StepFailed) as failed:
        retry(call, "Docker makes the network", "node1")
    assert not RAW.search(f"{unanswered.value}\n{failed.value}")


def test_a_mistake_in_this_program_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        _settled(lambda: {}["missing"], "provision")
