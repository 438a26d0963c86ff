"""Swarm mode's suite security: calls on one connection, copies of certificates, and what each check says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from control_server import LENIENT, STRICT, asked
from cryptography import x509
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived
from pki_sample import node

from provision.checks import key_files
from provision.checks.key_files import Held
from provision.checks.tls_probe import Client, knock
from provision.pki import certificates
from provision.pki.bad_certificates import copied
from provision.pki.leaf import Leaf
from provision.planes.swarm import rpc, view
from provision.planes.swarm.rpc import OK, PERMISSION_DENIED, Reply
from provision.planes.swarm.suites import key_permissions
from provision.planes.swarm.suites.security import CLOSED, ROAD, judged

MANAGER, WORKER = node("node1", "192.0.2.1"), replace(node("node3", "192.0.2.3"), member=False)
FOLDER = "/var/lib/docker/swarm"
WAL, SNAP = f"{FOLDER}/raft/wal-v3-encrypted", f"{FOLDER}/raft/snap-v3-encrypted"
DENIED = {method: Reply(PERMISSION_DENIED, "Permission denied") for method in CLOSED}
ROOT = b"-----BEGIN CERTIFICATE-----\n..."
NOW = datetime.now(UTC)

#: For each path: the headers, the body and the trailers of an answer. Without trailers, the headers are all of it.
Answers = Mapping[str, tuple[dict[str, str], bytes, dict[str, str]]]


def serve(stream: socket.socket, answers: Answers) -> None:
    """Be a gRPC server for one connection; reset a call for which there is no answer."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    calls: dict[int, str] = {}
    with stream, suppress(ConnectionError):  # a client that has its replies goes
        stream.sendall(connection.data_to_send())
        while data := stream.recv(1 << 16):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    headers = {str(name): str(value) for name, value in event.headers}
                    assert (headers[":method"], headers["content-type"], headers["te"]) == (
                        *("POST", "application/grpc", "trailers"),
                    )
                    calls[event.stream_id] = headers[":path"]
                elif isinstance(event, DataReceived):
                    assert event.data == bytes(5)
                    answer(connection, event.stream_id, answers.get(calls[event.stream_id]))
                elif isinstance(event, ConnectionTerminated):
                    return
            stream.sendall(connection.data_to_send())


def answer(connection: H2Connection, number: int, told: tuple[dict[str, str], bytes, dict[str, str]] | None) -> None:
    if told is None:
        connection.reset_stream(number)
        return
    headers, body, trailers = told
    connection.send_headers(number, [(":status", "200"), *headers.items()], end_stream=not trailers)
    if trailers:
        connection.send_data(number, body)
        connection.send_headers(number, list(trailers.items()), end_stream=True)


@contextmanager
def connected(target: Callable[..., object], *arguments: object) -> Iterator[socket.socket]:
    """The client's end of a connection to a function that is its server."""
    client, server = socket.socketpair()
    with client:
        thread = threading.Thread(target=target, args=(server, *arguments))
        thread.start()
        yield client
    thread.join()


def test_83_calls_are_answered_with_status_words_and_body() -> None:
    answers = {
        "/docker.swarmkit.v1.CA/GetRootCACertificate": ({}, b"\0\0\0\0\3abc", {"grpc-status": "0"}),
        "/docker.swarmkit.v1.Control/ListNodes": ({"grpc-status": "7", "grpc-message": "no%20way"}, b"", {}),
        "/docker.swarmkit.v1.Dispatcher/Heartbeat": ({}, b"", {"grpc-status": "7"}),
        "/docker.swarmkit.v1.CA/GetUnlockKey": ({}, b"", {}),
    }
    methods = (ROAD, "Control/ListNodes", "Dispatcher/Heartbeat", "RaftMembership/Leave", "CA/GetUnlockKey")
    with connected(serve, answers) as stream:
        replies = rpc.call(stream, "manager", methods)
    assert replies == {
        ROAD: Reply(OK, "", b"\0\0\0\0\3abc"),
        "Control/ListNodes": Reply(PERMISSION_DENIED, "no way"),
        "Dispatcher/Heartbeat": Reply(PERMISSION_DENIED),
        "RaftMembership/Leave": Reply(),
        "CA/GetUnlockKey": Reply(),
    }
    assert [str(replies[method]) for method in methods[1::2]] == ["status 7, no way", "status missing"]


def say(stream: socket.socket, words: bytes) -> None:
    with stream:
        stream.recv(1 << 16)
        stream.sendall(words)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "without an answer"),
        (bytes(9), "does not speak HTTP/2"),  # a frame of data for no stream
    ],
)
def test_83_a_server_that_is_no_manager_is_an_error(said: bytes, words: str) -> None:
    with connected(say, said) as stream, pytest.raises(ConnectionError, match=words):
        rpc.call(stream, "manager", (ROAD,))


def test_83_denied_calls_count_where_the_road_is_proven() -> None:
    outcome = judged(MANAGER, {ROAD: Reply(OK, body=b"\0\0\0\0\x21\x0a\x1f" + ROOT), **DENIED}, ROOT + b"\n")
    assert (outcome.status, outcome.evidence) == (
        "passed",
        "CA/GetRootCACertificate is answered, 4 are denied: "
        "Control/ListNodes, Dispatcher/Heartbeat, RaftMembership/Leave, CA/GetUnlockKey",
    )


@pytest.mark.parametrize("reply", [Reply(OK), Reply("3", "no node"), Reply("12", "unknown method"), Reply()])
def test_83_a_call_that_is_not_denied_is_named_with_its_reply(reply: Reply) -> None:
    outcome = judged(MANAGER, {ROAD: Reply(OK, body=ROOT), **DENIED, "RaftMembership/Leave": reply}, ROOT)
    assert outcome.status == "failed"
    assert outcome.evidence == f"not denied without a certificate: RaftMembership/Leave: {reply}"


@pytest.mark.parametrize(
    ("road", "words"),
    [
        (Reply("14", "no leader"), "CA/GetRootCACertificate: status 14, no leader"),
        (Reply(OK, body=b"\0\0\0\0\0"), "CA/GetRootCACertificate returns another authority"),
    ],
)
def test_83_a_denial_proves_nothing_where_nothing_is_answered(road: Reply, words: str) -> None:
    outcome = judged(MANAGER, {ROAD: road, **DENIED}, ROOT)
    assert (outcome.status, outcome.evidence) == ("failed", f"nothing is proven: {words}")


def test_83_a_managers_authority_is_read_from_its_own_words() -> None:
    info = {"Swarm": {"Cluster": {"TLSInfo": {"TrustRoot": "-----BEGIN"}}}}
    assert view.trusted(info) == b"-----BEGIN"
    for worker in ({"Swarm": {"Cluster": None}}, {"Swarm": {}}, {}):
        assert view.trusted(worker) == b""


class Swarm:
    """An authority and a manager's certificate, in files, and clients with copies of that certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, certificates.new_key()
        root = certificates.sign_authority("demo", "swarm-ca", self.key, NOW)
        leaf = Leaf("swarm", "manager", "192.0.2.1", server=True, client=True)
        key = certificates.new_key()
        self.certificate = certificates.sign_leaf(leaf, key, certificates.Signer(root, self.key), NOW)
        self.authority = self._written("ca.crt", certificates.certificate_pem(root))
        pems = certificates.certificate_pem(self.certificate), certificates.key_pem(key)
        self.leaf = self._written("manager.crt", pems[0]), self._written("manager.key", pems[1])

    def _written(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def asked(self, pem: bytes, *manner: str) -> tuple[str, set[int]]:
        """Let a client with this certificate connect: how it was received, and the flaws that OpenSSL saw."""
        client = Client("a copy", self._written("copy", pem))
        answer, flaws = asked(
            lambda port: knock(client, port, "192.0.2.1", self.authority), self.leaf, self.authority, *manner
        )
        return answer.kind, set(flaws)


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return Swarm(tmp_path)


def test_83_a_forged_certificate_differs_from_the_managers_in_its_key_and_signature_alone(swarm: Swarm) -> None:
    forged = copied(swarm.certificate, certificates.new_key())
    assert swarm.asked(forged, *LENIENT) == ("admitted", {7})  # certificate signature failure
    assert swarm.asked(forged, *STRICT)[0] == "refused"
    copy = x509.load_pem_x509_certificate(forged)
    for field in ("subject", "issuer", "not_valid_before_utc", "not_valid_after_utc"):
        assert getattr(copy, field) == getattr(swarm.certificate, field)
    assert list(copy.extensions) == list(swarm.certificate.extensions)


def test_83_copies_that_the_authority_has_signed_have_one_flaw_or_none(swarm: Swarm) -> None:
    assert swarm.asked(copied(swarm.certificate, swarm.key), *STRICT) == ("admitted", set())
    expired = copied(swarm.certificate, swarm.key, ended=NOW - timedelta(hours=1))
    assert swarm.asked(expired, *LENIENT) == ("admitted", {10})
    assert swarm.asked(copied(swarm.certificate, swarm.key, client=False), *LENIENT) == ("admitted", {26})


def found(*but: str) -> list[Held]:
    """What a manager has when everything is right, but for some paths."""
    must = key_permissions.rules(MANAGER, FOLDER).must
    kinds = {**dict.fromkeys((FOLDER, WAL, SNAP), "folder"), key_files.SOCKET: "socket"}
    right = [Held(kinds.get(path, "key"), mode, owner, path) for path, (mode, owner) in must.items()]
    crt = Held("certificate", 0o644, "root:root", f"{FOLDER}/certificates/swarm-node.crt")
    return [held for held in (*right, crt) if held.path not in but]


def test_85_a_managers_files_are_as_docker_makes_them() -> None:
    outcome = key_files.judged(MANAGER, found(), key_permissions.rules(MANAGER, FOLDER), "")
    assert (outcome.status, outcome.evidence) == (
        "passed",
        f"1 keys 600, 1 certificates at most 644; {FOLDER}: 700 root:root, {WAL}: 700 root:root, "
        f"{SNAP}: 700 root:root, /run/docker.sock: 660 root:docker",
    )


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Held("key", 0o644, "root:root", f"{FOLDER}/certificates/swarm-node.key"), "644 root:root, not 600 root:root"),
        (Held("key", 0o600, "ops:ops", f"{FOLDER}/certificates/copy"), "600 ops:ops, not 600 root:root"),
        (Held("certificate", 0o666, "root:root", f"{FOLDER}/certificates/a.crt"), "666 root:root, not at most 644"),
        (Held("folder", 0o755, "root:root", FOLDER), "755 root:root, not 700 root:root"),
        (Held("socket", 0o666, "root:docker", "/run/docker.sock"), "666 root:docker, not 660 root:docker"),
    ],
)
def test_85_what_is_open_wider_is_named(one: Held, said: str) -> None:
    held = [*found(one.path), one]
    outcome = key_files.judged(MANAGER, held, key_permissions.rules(MANAGER, FOLDER), "")
    assert (outcome.status, outcome.evidence) == ("failed", f"{one.path}: {said}")


def test_85_a_raft_log_belongs_on_managers_alone() -> None:
    worker = key_permissions.rules(WORKER, FOLDER)
    assert key_files.judged(WORKER, found(WAL, SNAP), worker, "").status == "passed"
    assert key_files.judged(WORKER, found(SNAP), worker, "").evidence == f"{WAL} is there"
    manager = key_permissions.rules(MANAGER, FOLDER)
    assert key_files.judged(MANAGER, found(SNAP), manager, "").evidence == f"{SNAP} is not there"
