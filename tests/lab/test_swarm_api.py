"""What Docker 29 does differently, on hosts with Docker 26: no API below 1.44 (a proxy), and images in containerd."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from conftest import Fab, MakeLab
from observe import document, run

from provision.lab import Lab, host

pytestmark = pytest.mark.whole
NODES = ("node1", "node2")
LOWEST = (1, 44)
REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    b'{"message":"client version is too old. Minimum supported API version is 1.44"}'
)
REQUEST = re.compile(rb"(?:^|\r\n\r\n)(?:GET|HEAD|POST|PUT|DELETE) /v(\d+)\.(\d+)/")


class Proxy:
    """A proxy before a daemon's socket that refuses requests of older versions, as Docker 29 does."""

    def __init__(self, path: Path, to: Path) -> None:
        """Listen at `path`, and pass on to the socket at `to`."""
        self.to, self.refused, self.asked = to, 0, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        there = to.stat()
        os.chown(path, there.st_uid, there.st_gid)
        path.chmod(there.st_mode & 0o777)
        self.listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(str(self.to))
            answers = threading.Thread(target=_copy, args=(daemon, client), daemon=True)
            answers.start()
            with suppress(OSError):
                self._requests(client, daemon)
            answers.join()

    def _requests(self, client: socket.socket, daemon: socket.socket) -> None:
        while data := client.recv(65536):
            for found in REQUEST.finditer(data):
                self.asked += 1
                if (int(found[1]), int(found[2])) < LOWEST:
                    self.refused += 1
                    client.sendall(REFUSAL)
                    daemon.shutdown(socket.SHUT_RDWR)
                    return
            daemon.sendall(data)
        daemon.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def proxied(lab: Lab) -> Iterator[list[Proxy]]:
    """During the block, each host's socket of Docker leads through a proxy of this machine."""
    proxies = []
    for node in NODES:
        run(lab, node, "docker version")
        sockets = _sockets(lab, node)
        (sockets / "docker.sock").rename(sockets / "docker-real.sock")
        proxies.append(Proxy(sockets / "docker.sock", sockets / "docker-real.sock"))
    try:
        yield proxies
    finally:
        for node, proxy in zip(NODES, proxies, strict=True):
            proxy.listener.close()
            sockets = _sockets(lab, node)
            (sockets / "docker.sock").unlink()
            (sockets / "docker-real.sock").rename(sockets / "docker.sock")


def _sockets(lab: Lab, node: str) -> Path:
    """Return a host's folder of sockets as this machine sees it."""
    return Path("/proc", str(host.node(lab.name, NODES.index(node) + 1).first_process), "root/run")


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    return make_lab(release="trixie")


def test_no_request_is_of_a_version_that_docker_29_refuses(lab: Lab, fab: Fab) -> None:
    with proxied(lab) as proxies:
        document(fab(lab, "provision", "--json"))
        document(fab(lab, "verify", "--json"))
        document(fab(lab, "status", "--json"))
        document(fab(lab, "reset", "--yes", "--json"))
    assert all(proxy.asked > 10 for proxy in proxies)
    assert [proxy.refused for proxy in proxies] == [0, 0]


def test_images_in_containerd_are_as_good(lab: Lab, fab: Fab) -> None:
    """Docker 29 keeps them there on new hosts. The snapshotter `native` needs no overlayfs: the lab has none there."""
    for node in NODES:
        setting = '{"features": {"containerd-snapshotter": true}, "storage-driver": "native"}'
        run(lab, node, f"echo '{setting}' >/etc/docker/daemon.json; systemctl restart docker")
        assert "native" in run(lab, node, "docker info -f '{{.Driver}}'")
    document(fab(lab, "provision", "--json"))
    document(fab(lab, "verify", "--json"))
    assert document(fab(lab, "provision", "--json"))["changes"] == []
    document(fab(lab, "reset", "--yes", "--json"))
    for node in NODES:
        assert run(lab, node, "docker image ls -q").strip() == ""
