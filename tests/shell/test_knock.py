"""Clients that knock, at servers of the tests' own: what is to be refused is let in where nobody minds it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from control_server import FLAWS, LENIENT, STRICT, let_in, plain_server, tried
from pki_sample import sample

from provision.checks import tls_probe as knocking
from provision.checks.tls_probe import Client, knock
from provision.inventory.model import Cluster
from provision.planes.etcd import pki
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.suites.security import Door, doors, wrong_clients

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.* is deprecated")

PORTS = (0, 1, 2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return sample(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def identity(cluster: Cluster) -> Identity:
    return pki.make(cluster)


@pytest.fixture
def door(cluster: Cluster, request: pytest.FixtureRequest) -> Door:
    return doors(cluster, cluster.nodes[0])[request.param]


def right(identity: Identity, door: Door) -> Client:
    return Client("the right client", *identity.paths(door.leaf))


@pytest.mark.parametrize("door", PORTS, indirect=True)
def test_83_each_wrong_client_is_let_in_by_a_lenient_server_and_refused_by_a_strict_one(
    cluster: Cluster, identity: Identity, door: Door
) -> None:
    with wrong_clients(cluster, identity, door) as clients:
        assert {client.name: let_in(identity, door, client) for client in clients} == dict.fromkeys(FLAWS, True)
        answers = {client.name: tried(identity, door, client, *STRICT)[0].kind for client in clients}
    assert answers == dict.fromkeys(FLAWS, "refused")
    assert tried(identity, door, right(identity, door), *STRICT)[0].kind == "admitted"


@pytest.mark.parametrize("door", PORTS[:1], indirect=True)
def test_what_wrong_clients_show_is_closed_to_others_and_goes(
    cluster: Cluster, identity: Identity, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with wrong_clients(cluster, identity, door):
        (folder,) = tmp_path.iterdir()
        modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert (folder.stat().st_mode & 0o777, modes) == (0o700, {0o600})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\n", "admitted"),
        (b"HTTP/1.1 403 Forbidden\r\n", "admitted"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "refused"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "refused"),
        (b"", "refused"),
    ],
)
def test_plain_text_is_refused_where_the_server_says_so_or_hangs_up(answer: bytes, kind: str) -> None:
    with plain_server(answer) as port:
        assert knock(Client("plain text", speaks=None), port, "127.0.0.1", Path()).kind == kind


@pytest.mark.parametrize("door", PORTS[:1], indirect=True)
def test_a_server_that_neither_answers_nor_refuses_is_told_as_such(
    identity: Identity, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knocking, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        authority = identity.authority_path(door.leaf.authority)
        for client in (Client("plain text", speaks=None), right(identity, door)):
            assert knock(client, listener.getsockname()[1], door.node.address, authority).kind == "silent"


@pytest.mark.parametrize("door", PORTS[:1], indirect=True)
def test_what_fails_on_this_side_is_no_refusal(identity: Identity, door: Door) -> None:
    client = right(identity, door)
    elsewhere = replace(door, node=replace(door.node, address="192.0.2.99"))  # not that of the server's certificate
    assert tried(identity, elsewhere, client, *LENIENT)[0].kind == "unable"
    assert tried(identity, door, replace(client, speaks=ssl.TLSVersion.SSLv3), *LENIENT)[0].kind == "unable"
