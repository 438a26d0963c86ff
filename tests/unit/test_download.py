"""etcd by its version: the archive for each node's CPU, from a mirror that is a real HTTP server on this machine."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cluster_sample import bare
from pki_sample import sample

from provision.core.situation import Situation
from provision.errors import Problem
from provision.facts import Facts
from provision.inventory import model
from provision.planes.etcd.local import local, release_for
from provision.planes.etcd.phases.etcd import BINARY, Etcd
from provision.planes.etcd.plane import PLANE
from provision.planes.etcd.resources import Release
from provision.planes.swarm import plane as swarm
from provision.resources import Service

MACHINES = {"x86_64": ("amd64", 62), "aarch64": ("arm64", 183)}


def archive(version: str, cpu: str) -> bytes:
    """An archive as etcd publishes them, with two files that begin as programs for a CPU do."""
    architecture, machine = MACHINES[cpu]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("etcd", "etcdctl"):
            content = b"\x7fELF\x02\x01" + bytes(12) + machine.to_bytes(2, "little") + os.urandom(100_000)
            entry = tarfile.TarInfo(f"etcd-v{version}-linux-{architecture}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


CONTENTS = {cpu: archive("3.5.99", cpu) for cpu in MACHINES}
CHECKSUMS = {MACHINES[cpu][0]: sha256(content).hexdigest() for cpu, content in CONTENTS.items()}
PATHS = {f"/v3.5.99/etcd-v3.5.99-linux-{MACHINES[cpu][0]}.tar.gz": content for cpu, content in CONTENTS.items()}
AMD64, ARM64 = PATHS


@dataclass
class Server:
    """A server of files, what it was asked for, and how it answers in place of a file."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    instead: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            if answer := server.instead.get(self.path):
                answer(self)
                return
            content = PATHS.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        if tls:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        server.url = f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}"
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield server
        http.shutdown()
        thread.join()


@pytest.fixture
def mirror() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "cache/overlay-provision"


def asked(folder: Path, mirror: str, *machines: str, **different: Any) -> Situation:
    """The situation when the nodes have told their CPUs, and nothing was downloaded."""
    etcd = replace(model.EtcdRelease("3.5.99", mirror, CHECKSUMS), **different)
    cluster = replace(sample(folder), etcd=etcd)
    kept, problems = PLANE.local(cluster)
    assert problems == ()
    facts: dict[str, Facts] = {}
    for node, machine in zip(cluster.nodes, machines, strict=False):
        found = bare(node)
        facts[node.name] = replace(found, values={**found.values, "machine": machine})
    return Situation(cluster, kept, facts)


def supplied(situation: Situation) -> tuple[Situation, list[str]]:
    said: list[str] = []
    situation, problems = PLANE.supplied(situation, said.append)
    assert problems == ()
    return situation, said


def refused(folder: Path, mirror: str, *machines: str, **different: Any) -> Problem:
    situation, problems = PLANE.supplied(asked(folder, mirror, *machines or ("x86_64",), **different), lambda _: None)
    assert local(situation).archives == {}
    (problem,) = problems
    assert problem.advice
    assert "object at 0x" not in str(problem)
    return problem


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("*") if path.suffix != ".json")


def test_each_node_gets_the_archive_for_its_cpu_which_is_downloaded_once(
    tmp_path: Path, mirror: Server, cache: Path
) -> None:
    situation = asked(tmp_path, mirror.url, "x86_64", "aarch64", "x86_64")
    assert [release_for(situation, node).version for node in situation.cluster.nodes] == ["3.5.99"] * 3
    situation, said = supplied(situation)
    assert [release_for(situation, node).cpu for node in situation.cluster.nodes] == ["x86_64", "aarch64", "x86_64"]
    for node in situation.cluster.nodes:
        pushed = release_for(situation, node)
        resources = [each for phase in PLANE.phases for each in phase.resources(situation, node)]
        (found,) = (each for each in resources if isinstance(each, Release))
        assert (found.archive, found.hashes) == (pushed.path, tuple(pushed.hashes.items()))
        services = [each for each in Etcd().resources(situation, node) if isinstance(each, Service)]
        assert all(dict(each.inputs)[BINARY] == {pushed.hashes["etcd"]} for each in services)
        assert len(services) == (1 if node.member else 0)
    assert sorted(mirror.asked) == sorted(PATHS)
    for cpu, path in zip(MACHINES, PATHS, strict=True):
        assert (cache / Path(path).name).read_bytes() == CONTENTS[cpu]
        assert local(situation).archives[cpu].sha256 == CHECKSUMS[MACHINES[cpu][0]]
    assert said[0] == f"downloading {mirror.url}{AMD64}"
    assert "downloading etcd-v3.5.99-linux-amd64.tar.gz: 0.2 MB of 0.2 MB" in said
    assert "etcd 3.5.99 for aarch64" in PLANE.describe_local(situation)
    assert "etcd 3.5.99 for x86_64" in PLANE.describe_local(situation)


def test_what_is_in_the_cache_needs_no_network(tmp_path: Path, cache: Path) -> None:
    with serving() as server:
        supplied(asked(tmp_path, server.url, "x86_64"))
    situation, said = supplied(asked(tmp_path, server.url, "x86_64", "x86_64"))
    assert said == []
    assert local(situation).archives["x86_64"].path == cache / Path(AMD64).name


def test_an_archive_that_was_put_into_the_cache_by_hand_is_used(tmp_path: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / Path(AMD64).name).write_bytes(CONTENTS["x86_64"])
    assert supplied(asked(tmp_path, "http://127.0.0.1:1", "x86_64"))[1] == []


@pytest.mark.parametrize("content", [b"", b"<html>", CONTENTS["aarch64"], CONTENTS["x86_64"][:-1]])
def test_201_a_damaged_archive_in_the_cache_is_downloaded_again(
    tmp_path: Path, mirror: Server, cache: Path, content: bytes
) -> None:
    cache.mkdir(parents=True)
    (cache / Path(AMD64).name).write_bytes(content)
    supplied(asked(tmp_path, mirror.url, "x86_64"))
    assert (cache / Path(AMD64).name).read_bytes() == CONTENTS["x86_64"]


def test_nothing_is_downloaded_before_a_node_has_told_its_cpu(tmp_path: Path, mirror: Server) -> None:
    situation, said = supplied(asked(tmp_path, mirror.url))
    assert (mirror.asked, said) == ([], [])
    assert PLANE.describe_local(situation) == "etcd 3.5.99"


def test_a_source_is_no_version(tmp_path: Path) -> None:
    situation = replace(
        asked(tmp_path, "", "x86_64"), cluster=replace(sample(tmp_path), etcd=model.Etcd("etcd.tgz", None))
    )
    assert PLANE.supplied(situation, lambda _: None) == (situation, ())


def test_swarm_mode_downloads_nothing(tmp_path: Path, mirror: Server) -> None:
    situation = asked(tmp_path, mirror.url, "x86_64")
    assert swarm.PLANE.supplied(situation, lambda _: None) == (situation, ())
    assert mirror.asked == []


def test_200_a_cpu_without_a_checksum_names_its_nodes(tmp_path: Path, mirror: Server) -> None:
    checksums = {"amd64": CHECKSUMS["amd64"]}
    situation = asked(tmp_path, mirror.url, "x86_64", "aarch64", "aarch64", sha256=checksums)
    situation, (problem,) = PLANE.supplied(situation, lambda _: None)
    assert problem.where == "node2, node3"
    assert problem.what == "this host is aarch64, and no checksum of etcd 3.5.99 for arm64 is known"
    assert problem.advice.startswith("add etcd.sha256: {arm64: 64 digits}")
    assert set(local(situation).archives) == {"x86_64"}


def test_200_a_cpu_that_etcd_is_not_released_for(tmp_path: Path) -> None:
    problem = refused(tmp_path, "http://127.0.0.1:1", "riscv64")
    assert "this host is riscv64" in problem.what
    assert "take the node out" in problem.advice


def test_201_another_file_at_the_address_is_not_kept(tmp_path: Path, mirror: Server, cache: Path) -> None:
    problem = refused(tmp_path, mirror.url, sha256={"amd64": "0" * 64})
    size = len(CONTENTS["x86_64"])
    assert problem.what == (
        f"{mirror.url}{AMD64} is not what was expected: {size} bytes with sha256 {CHECKSUMS['amd64']}, not {'0' * 64}"
    )
    assert problem.where == "controller"
    assert "a login page" in problem.advice
    assert kept(cache) == []


def test_201_the_archive_of_another_version_or_cpu_with_its_own_checksum(tmp_path: Path, mirror: Server) -> None:
    mirror.instead[AMD64] = lambda handler: send(handler, CONTENTS["aarch64"])
    problem = refused(tmp_path, mirror.url, sha256={"amd64": CHECKSUMS["arm64"]})
    assert "holds etcd 3.5.99 for aarch64, not 3.5.99 for x86_64" in problem.what


def send(handler: BaseHTTPRequestHandler, content: bytes, said: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(said or len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def leading(place: str, status: int = 302) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", place)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_202_a_download_that_ends_in_the_middle_leaves_nothing(tmp_path: Path, mirror: Server, cache: Path) -> None:
    mirror.instead[AMD64] = lambda handler: send(handler, CONTENTS["x86_64"][:100_000], len(CONTENTS["x86_64"]))
    problem = refused(tmp_path, mirror.url)
    assert f"the download of {mirror.url}{AMD64} was interrupted: the connection ended 0.1 MB too early" in problem.what
    assert problem.advice.startswith("try again")
    assert kept(cache) == []


@pytest.mark.parametrize("age", [0, 7200])
def test_202_what_a_killed_run_has_left_is_removed_later(tmp_path: Path, mirror: Server, cache: Path, age: int) -> None:
    cache.mkdir(parents=True)
    part = cache / "tmpabc.part"
    part.write_bytes(b"half")
    os.utime(part, (time.time() - age,) * 2)
    supplied(asked(tmp_path, mirror.url, "x86_64"))
    assert part.exists() == (age == 0)


KILLED = """
import sys
from pathlib import Path
from provision.planes.etcd.download import download
download(sys.argv[1], "0" * 64, Path(sys.argv[2]), lambda _: None, advice="")
"""


def test_202_a_run_that_is_killed_in_the_middle_leaves_no_file_of_that_name(
    tmp_path: Path, mirror: Server, cache: Path
) -> None:
    reading, writing = os.pipe()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            handler.send_response(200)
            handler.send_header("Content-Length", "10000000")
            handler.end_headers()
            handler.wfile.write(bytes(200_000))
            handler.wfile.flush()
            os.read(reading, 1)

    mirror.instead[AMD64] = hang
    file = cache / Path(AMD64).name
    run = subprocess.Popen([sys.executable, "-c", KILLED, mirror.url + AMD64, str(file)])
    while not any(part.stat().st_size for part in cache.glob("*.part")):
        assert run.poll() is None
    run.kill()
    run.wait()
    os.write(writing, b"x")
    assert not file.exists()
    del mirror.instead[AMD64]
    supplied(asked(tmp_path, mirror.url, "x86_64"))
    assert file.read_bytes() == CONTENTS["x86_64"]


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (403, "403 Forbidden"), (503, "503 Service")])
def test_203_an_answer_that_is_no_file(tmp_path: Path, mirror: Server, status: int, words: str) -> None:
    mirror.instead[AMD64] = lambda handler: handler.send_error(status)
    problem = refused(tmp_path, mirror.url)
    assert problem.what.startswith(f"{mirror.url}{AMD64} answers {words}")
    assert "see whether etcd 3.5.99 is there, name another etcd.mirror, or put the archive at " in problem.advice


def test_204_redirects_are_followed_to_where_the_file_is(tmp_path: Path, mirror: Server) -> None:
    mirror.instead[AMD64] = leading("/elsewhere")
    mirror.instead["/elsewhere"] = lambda handler: send(handler, CONTENTS["x86_64"])
    supplied(asked(tmp_path, mirror.url, "x86_64"))
    assert mirror.asked == [AMD64, "/elsewhere"]


def test_204_redirects_without_end_and_to_nowhere(tmp_path: Path, mirror: Server) -> None:
    mirror.instead[AMD64] = leading(AMD64)
    assert f"redirects more than 5 times, at last to {mirror.url}{AMD64}" in refused(tmp_path, mirror.url).what
    mirror.instead[AMD64] = lambda handler: (handler.send_response(302), handler.end_headers())[0]
    assert "answers 302 Found" in refused(tmp_path, mirror.url).what
    mirror.instead[AMD64] = leading("file:///etc/passwd")
    assert "redirects to file:///etc/passwd, which is not https" in refused(tmp_path, mirror.url).what


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "server.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    names = ["-subj", "/CN=mirror", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", "-"]
    done = subprocess.run([*command, *names], check=True, capture_output=True, text=True)
    file.write_text(file.read_text() + done.stdout)
    return file


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_204_no_redirect_leads_from_https_to_http(
    tmp_path: Path, mirror: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(tls(certificate)) as server:
        supplied(asked(tmp_path, server.url, "aarch64"))
        server.instead[AMD64] = leading(mirror.url + AMD64)
        problem = refused(tmp_path, server.url)
    assert problem.what == f"{server.url}{AMD64} redirects to {mirror.url}{AMD64}, which is not https"
    assert mirror.asked == []


def test_205_a_certificate_that_nobody_trusts(tmp_path: Path, certificate: Path) -> None:
    with serving(tls(certificate)) as server:
        problem = refused(tmp_path, server.url)
    assert f"cannot download {server.url}{AMD64}: its certificate is not trusted: self-signed cert" in problem.what


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:1", "Connection refused"),
        ("https://127.0.0.1:1", "Connection refused"),
        ("http://nowhere.invalid", "not known"),
    ],
)
def test_205_a_mirror_that_cannot_be_reached(tmp_path: Path, address: str, reason: str) -> None:
    problem = refused(tmp_path, address)
    assert problem.what.startswith(f"cannot download {address}{AMD64}: ")
    assert problem.what.endswith(reason)


def test_205_a_mirror_that_accepts_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.planes.etcd.download.SILENT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        problem = refused(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert problem.what.endswith(": no answer in time")


def test_205_a_server_that_is_no_web_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = Thread(target=answer)
        thread.start()
        problem = refused(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert problem.what.startswith("cannot download")


def test_206_the_proxy_of_the_environment_is_used_and_named_without_its_login(
    tmp_path: Path, mirror: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy is asked for the whole address: the mirror is one here."""
    address = "http://mirror.example/etcd"
    mirror.instead[address + AMD64] = lambda handler: send(handler, CONTENTS["x86_64"])
    monkeypatch.setenv("http_proxy", mirror.url.replace("://", "://user:secret@"))
    supplied(asked(tmp_path, address, "x86_64"))
    assert mirror.asked == [address + AMD64]
    problem = refused(tmp_path, address, "aarch64")
    assert problem.what == f"{address}{ARM64} answers 404 Not Found"


@pytest.mark.parametrize(
    ("proxy", "reason"),
    [
        ("http://user:secret@127.0.0.1:1", "through the proxy 127.0.0.1:1: Connection refused"),
        ("user:secret@127.0.0.1:1", "through the proxy 127.0.0.1:1: Connection refused"),
        ("socks5://user:secret@127.0.0.1:1", "through the proxy 127.0.0.1:1: the proxy is no http proxy"),
        ("http://user:secret@127.0.0.1:port", "through the proxy 127.0.0.1:port: "),
    ],
)
def test_206_a_proxy_that_does_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str, reason: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    problem = refused(tmp_path, "https://mirror.example/etcd")
    assert reason in problem.what
    assert "secret" not in str(problem)
    assert problem.advice.startswith("correct https_proxy in the environment, or name mirror.example in no_proxy; or ")


def test_206_a_proxy_that_refuses_the_tunnel(tmp_path: Path, mirror: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", mirror.url)  # it knows no CONNECT
    problem = refused(tmp_path, "https://mirror.example/etcd")
    assert "the proxy answers 501" in problem.what


def test_206_no_proxy_is_asked_for_what_no_proxy_names(
    tmp_path: Path, mirror: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    supplied(asked(tmp_path, mirror.url, "x86_64"))
    assert mirror.asked == [AMD64]
