"""Servers of the tests' own: a lenient one, which lets in whoever can be a client at all, and a strict one."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.checks.tls_probe import Answer, Client, knock
from provision.planes.etcd import pki, ports
from provision.planes.etcd.pki import Identity
from provision.planes.etcd.suites.security import Door

LENIENT = ("-verify", "2", "-min_protocol", "TLSv1", "-cipher", "ALL:@SECLEVEL=0")
STRICT = ("-Verify", "2", "-verify_return_error", "-min_protocol", "TLSv1.2")

#: What is wrong with the certificate of each kind of client, as OpenSSL numbers it; of an unknown issuer it says two.
FLAWS: dict[str, set[int]] = {
    "plain text": set(),
    "no certificate": set(),
    "expired certificate": {10},
    "foreign authority": {20, 21},
    "wrong extended key usage": {26},
    "TLS 1.1": set(),
}


def server_leaf(door: Door) -> pki.Leaf:
    leaf = {ports.DOCKER_PORT: pki.docker_leaf, ports.STORE_PORT: pki.store_leaf, ports.PEER_PORT: pki.peer_leaf}
    return leaf[door.port](door.node)


def tried(identity: Identity, door: Door, client: Client, *manner: str) -> tuple[Answer, list[int]]:
    """Let a client knock at a server in the place of the door's daemon: its answer, and the flaws that OpenSSL saw."""
    authority = identity.authority_path(door.leaf.authority)
    leaf = identity.paths(server_leaf(door))
    return asked(lambda port: knock(client, port, door.node.address, authority), leaf, authority, *manner)


def asked(
    ask: Callable[[int], Answer], leaf: tuple[Path, Path], authority: Path, *manner: str
) -> tuple[Answer, list[int]]:
    """Ask a server with this leaf, at its port, once: its answer, and the flaws that OpenSSL saw."""
    certificate, key = leaf
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-www", *manner]
    command += ["-cert", str(certificate), "-key", str(key), "-CAfile", str(authority)]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            assert server.stdout
            ready = next(line for line in server.stdout if line.startswith("ACCEPT"))
            answer = ask(int(ready.rpartition(":")[2]))
            said = server.communicate(timeout=10)[0]
        finally:
            server.kill()
    return answer, [int(number) for number in re.findall(r"verify error:num=(\d+)", said)]


@contextmanager
def plain_server(answer: bytes) -> Iterator[int]:
    """A server that reads a question in plain text and gives this answer; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            stream, _ = listener.accept()
            with stream:
                stream.recv(200)
                stream.sendall(answer)

        served = threading.Thread(target=serve)
        served.start()
        yield listener.getsockname()[1]
        served.join()


def let_in(identity: Identity, door: Door, client: Client) -> bool:
    """Whether a server that is not strict lets this client in, and sees no other flaw than the one it is made with."""
    if client.speaks is None:
        with plain_server(b"HTTP/1.0 200 OK\r\n\r\n") as port:
            return knock(client, port, door.node.address, Path()).kind == "admitted"
    answer, flaws = tried(identity, door, client, *LENIENT)
    return answer.kind == "admitted" and set(flaws) == FLAWS[client.name]
