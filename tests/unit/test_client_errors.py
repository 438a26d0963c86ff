"""What a person reads of an error of a daemon's client: never the client's own words about its request."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from threading import Event
from typing import Any, cast

import grpc
import jinja2
import paramiko
import pytest
import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound, TLSParameterError

from provision.checks import catalogue, verify
from provision.checks.attached_shell import ShellLostError
from provision.checks.probes import NotOnTheNetworkError
from provision.checks.proof import Proof
from provision.client_errors import explained, is_of_a_client
from provision.core.check import Check
from provision.core.outcome import Outcome, failed, passed
from provision.docker.client import over_tls
from provision.errors import ConnectionFailed, Problem, StepFailed, Unanswered
from provision.planes.etcd import plane as etcd
from provision.planes.swarm import plane as swarm

URL = "https://127.0.0.1:39573/v1.41/containers/create?name=probe-1"
#: What belongs to a client's own words: an address of this machine, the name of a class, a representation.
RAW = re.compile(r"127\.0\.0\.1|localhost|https?:|http\+docker|\w+Error\b|\w+Exception\b|object at 0x|<class|Errno")


def response(status: int) -> requests.Response:
    made = requests.Response()
    made.status_code, made.url, made.reason = status, URL, "Not Found"
    made.request = requests.Request("GET", URL).prepare()
    vars(made.request)["node_asked"] = "node2"  # as our clients mark it
    return made


def api_error(kind: type[APIError], status: int, words: str) -> APIError:
    return kind(f"{status} Client Error for {URL}", response(status), words)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class NoAnswer(grpc.RpcError):  # type: ignore[misc]
    def code(self) -> Any:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "failed to connect to all addresses"


def expired() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


POOL: Any = urllib3.HTTPSConnectionPool("127.0.0.1", 39573)
REFUSED = requests.ConnectionError(
    urllib3.exceptions.MaxRetryError(POOL, URL, ConnectionRefusedError(111, "Connection refused"))
)
READ = f"HTTPSConnectionPool({URL}): Read timed out. (read timeout=60)"
ENDED = urllib3.exceptions.MaxRetryError(POOL, URL, urllib3.exceptions.SSLError(expired()))
RESET = ConnectionResetError(104, "Connection reset by peer")
VERSION = caused(DockerException(f"Error while fetching server API version: {URL}"), REFUSED)
NO_FILE = FileNotFoundError(2, "No such file or directory", "/srv/busybox.tar")
CASES = (
    (api_error(ImageNotFound, 404, "No such image: busybox:latest"), "Docker has no image busybox:latest"),
    (api_error(NotFound, 404, "network demo not found"), "Docker refuses: network demo not found"),
    (api_error(APIError, 500, "driver failed\nprogramming"), "Docker fails: driver failed programming"),
    (TLSParameterError("Path to a certificate"), "a certificate or key with which Docker is asked is missing"),
    (VERSION, "Docker does not answer: Connection refused"),
    (REFUSED, "Docker does not answer: Connection refused"),
    (requests.ReadTimeout(READ), "Docker did not answer in time"),
    (requests.exceptions.SSLError(ENDED), "TLS with Docker fails: certificate has expired"),
    (
        urllib3.exceptions.ProtocolError("Connection aborted.", RESET),
        "Docker does not answer: Connection reset by peer",
    ),
    (NoAnswer(), "a daemon does not answer: failed to connect to all addresses"),
    (expired(), "TLS with a daemon fails: certificate has expired"),
    (ssl.SSLError(1, "[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca"), "TLS with a daemon fails: "),
    (RESET, "a daemon does not answer: Connection reset by peer"),
    (TimeoutError("timed out"), "a daemon did not answer in time"),
    (NO_FILE, "/srv/busybox.tar: No such file or directory"),
    (paramiko.SSHException("Channel closed."), "the SSH connection is lost: Channel closed."),
    (EOFError(), "the connection was closed"),
    (ShellLostError("the shell in a container is lost"), "the shell in a container is lost"),
    (NotOnTheNetworkError("Docker on node1 started probe without an address"), "Docker on node1 started probe"),
    (Unanswered("no manager answers"), "no manager answers"),
    (StepFailed(Problem("a script failed", "node1", "run it again")), "a script failed"),
    (ConnectionFailed(Problem("sshd refuses to forward", "node1")), "sshd refuses to forward"),
)


def test_198_errors_that_are_the_cause_of_each_other_have_an_end() -> None:
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__context__ = second, first
    assert explained(first, "node1").where == "node1"


def test_no_check_waits_for_one_that_waits_for_it() -> None:
    """Checks of a suite run one after the other, and a check waits for those that it needs."""
    for plane in (etcd.PLANE, swarm.PLANE):
        checks = catalogue.of_verify(plane)
        by_name = {str(check): check for check in checks}
        before: dict[str, set[str]] = {}
        last: dict[str, str] = {}
        for check in checks:
            before[str(check)] = {*check.needs, *filter(None, [last.get(check.suite)])}
            last[check.suite] = str(check)
        assert {need for check in checks for need in check.needs} <= by_name.keys()
        assert len(tuple(TopologicalSorter(before).static_order())) == len(checks)


@pytest.mark.parametrize(("error", "words"), CASES, ids=[type(error).__name__ for error, _ in CASES])
def test_198_an_error_of_each_client_is_told_as_what_where_and_what_to_do(error: Exception, words: str) -> None:
    problem = explained(error, "node1")
    assert words in problem.what
    assert problem.where
    assert problem.advice
    assert not RAW.search(str(problem))


def test_198_the_node_is_the_one_that_was_asked() -> None:
    assert explained(api_error(NotFound, 404, "gone"), "cluster").where == "node2"
    assert explained(StepFailed(Problem("failed", "node3")), "cluster").where == "node3"
    assert explained(Unanswered("silent")).where == "cluster"


def test_198_a_client_of_docker_names_its_node_in_the_errors_about_its_requests(tmp_path: Any) -> None:
    from pki_sample import sample

    from provision.planes.etcd import pki

    identity = pki.make(sample(tmp_path))
    files = identity.authority_path(pki.Authority.DOCKER), *identity.paths(pki.CONTROLLER_DOCKER)
    client = over_tls("node7", 1, "192.0.2.7", *files)  # nobody listens there
    with pytest.raises(requests.ConnectionError) as caught:
        client.api.version()
    assert explained(caught.value) == explained(caught.value, "elsewhere")
    assert explained(caught.value).where == "node7"
    assert "Connection refused" in explained(caught.value).what


def test_a_mistake_of_ours_says_that_it_is_one() -> None:
    problem = explained(KeyError("IPAM"))
    assert "the check itself has failed (KeyError: 'IPAM')" in problem.what
    assert "report it" in problem.advice


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE])
def test_198_trouble_that_the_controller_has_is_not_blamed_on_a_daemon(number: int) -> None:
    error = OSError(number, os.strerror(number))
    for raised in (error, urllib3.exceptions.ProtocolError("Connection aborted.", error)):
        problem = explained(raised, "node1")
        assert is_of_a_client(raised)
        assert (problem.what, problem.where) == (os.strerror(number), "controller")
        assert "controller" in problem.advice
    named = OSError(number, os.strerror(number), "/srv/report.xml")
    assert explained(named, "node1").what == f"/srv/report.xml: {os.strerror(number)}"


def test_198_an_error_that_a_library_derives_from_one_of_the_system_is_a_mistake_of_ours() -> None:
    for error in (jinja2.TemplateNotFound("etcd.env.j2"), OSError("no number")):
        assert not is_of_a_client(error)
        assert "this is a mistake in overlay-provision" in explained(error).advice
    for error in (RESET, TimeoutError("timed out"), expired(), EOFError(), socket.gaierror("no address"), NO_FILE):
        assert is_of_a_client(error)


def proof() -> Proof:
    return Proof(cast("Any", None), cast("Any", None), "run")  # these checks look at nothing


def run(*checks: Check) -> dict[str, Outcome]:
    found = verify.run(proof(), checks)
    return {outcome.check: outcome for outcome in found if outcome.check != str(verify.ORPHANS)}


def raising(error: Exception) -> Any:
    def observe(_: Proof) -> Any:
        raise error
        yield

    return observe


def test_198_a_check_that_raises_is_a_failed_outcome_in_plain_words() -> None:
    error = api_error(ImageNotFound, 404, "No such image: busybox:latest")
    outcome = run(Check("overlay", "reach", raising(error)))["overlay/reach"]
    assert (outcome.status, outcome.where, outcome.evidence) == (
        *("failed", "node2", "Docker has no image busybox:latest"),
    )
    assert "fab provision loads" in outcome.advice


def test_194_195_what_needs_a_check_that_failed_is_not_tried_across_suites_and_on_to_what_needs_that() -> None:
    tried: list[str] = []

    def seen(name: str, outcome: Any) -> Any:
        def observe(_: Proof) -> Any:
            tried.append(name)
            yield outcome

        return observe

    found = run(
        Check("a", "first", seen("first", failed("node1", "no"))),
        Check("a", "other", seen("other", passed("node1", "yes"))),
        Check("b", "second", seen("second", passed("node1", "yes")), needs=("a/first",)),
        Check("b", "third", seen("third", passed("node1", "yes")), needs=("b/second",)),
        Check("b", "fourth", seen("fourth", passed("node1", "yes")), needs=("a/other", "a/not-chosen")),
    )
    assert sorted(tried) == ["first", "fourth", "other"]
    assert found["b/second"].evidence == "not tried: a/first does not hold"
    assert found["b/third"].status == "warning"
    assert found["b/fourth"].status == "passed"


def test_a_check_waits_for_the_one_that_it_needs() -> None:
    began = Event()

    def first(_: Proof) -> Any:
        assert began.wait(10)
        yield passed("node1", "yes")

    def beside(_: Proof) -> Any:
        began.set()
        yield passed("node1", "yes")

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(
            run,
            Check("a", "first", first),
            Check("b", "beside", beside),
            Check("b", "second", beside, needs=("a/first",)),
        ).result(20)
    assert {outcome.status for outcome in found.values()} == {"passed"}
