"""Whether a member sees a newer authority before its etcd starts: asked by shells as nodes have them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from node_shell import SHELLS

from provision.pki.certificates import Signer, certificate_pem, key_pem, new_key, sign_authority, sign_leaf
from provision.pki.leaf import Leaf
from provision.planes.etcd.node import program
from provision.planes.etcd.pki import Authority

FUNCTIONS, MAIN, _ = program("etcd_before_start").decode().rpartition('may_start "$1"')
NOW = datetime.now(UTC)
#: Leaves end after 825 days, authorities after ten years.
LEAF_ENDED, ALL_ENDED = NOW - timedelta(days=900), NOW - timedelta(days=3700)
OWN, SECOND, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@dataclass(frozen=True)
class Members:
    """The authority of a cluster's members."""

    cluster: str = "demo"
    moment: datetime = NOW
    key: EllipticCurvePrivateKey = field(default_factory=new_key)

    @property
    def signer(self) -> Signer:
        return Signer(sign_authority(self.cluster, Authority.PEER, self.key, self.moment), self.key)

    @property
    def trusted(self) -> bytes:
        return certificate_pem(self.signer.certificate)

    def leaf(self, address: str, moment: datetime | None = None) -> tuple[bytes, bytes]:
        """Return the certificate and the key of a member."""
        key, leaf = new_key(), Leaf(Authority.PEER, "a-peer", address, server=True, client=True)
        return certificate_pem(sign_leaf(leaf, key, self.signer, moment or self.moment)), key_pem(key)


OURS, NEWER = Members(moment=NOW - timedelta(days=9)), Members()


@dataclass(frozen=True)
class Host:
    """A member that remembers two others."""

    command: tuple[str, ...]
    folder: Path

    def has(self, trusts: bytes = OURS.trusted, own: bytes | None = None) -> None:
        """Give it its files."""
        (self.folder / "peer-ca.crt").write_bytes(trusts)
        (self.folder / "peer.crt").write_bytes(own or OURS.leaf(OWN)[0])
        members = ",".join(f"{address}:2379" for address in (OWN, SECOND, THIRD))
        (self.folder / "store.env").write_text(f"OVERLAY_STORE=etcd://{members}\nOVERLAY_TURNS=yes\n")

    def starts(self, port: int, *before: str, says: str = "") -> bool:
        """Return whether etcd starts. `before`: lines before that. The program says nothing, or this one line."""
        program = self.folder / "program"
        program.write_text("\n".join((FUNCTIONS, f"export TMPDIR={self.folder}/tmp", *before, MAIN, "")))
        (self.folder / "tmp").mkdir(exist_ok=True)
        names = {"OVERLAY_ETCD_PKI": str(self.folder), "OVERLAY_STORE_FILE": f"{self.folder}/store.env"}
        command = ["timeout", "60", *self.command, str(program), str(port)]
        done = subprocess.run(command, capture_output=True, text=True, env=names, check=False)
        assert done.stderr == ""
        assert done.returncode in (0, 1)
        assert len(done.stdout.splitlines()) == (says != "" or done.returncode)
        assert says in done.stdout
        assert list((self.folder / "tmp").iterdir()) == []
        return done.returncode == 0


@pytest.fixture(params=SHELLS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    host = Host(request.param, tmp_path)
    host.has()
    return host


Serve = Callable[[socket.socket], None]


@contextmanager
def listening(address: str, serve: Serve, port: int = 0) -> Iterator[int]:
    """Serve the connections at an address; return the port."""
    with socket.create_server((address, port)) as server:

        def work() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with suppress(OSError), client:
                    serve(client)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def member(folder: Path, leaf: tuple[bytes, bytes], version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Serve:
    """Return what shows a leaf as etcd does, and lets in nobody without one."""
    path = folder / "shown.pem"
    path.write_bytes(b"".join(leaf))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.load_verify_locations(cadata=NEWER.trusted.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version

    def serve(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as stream:
            stream.recv(1)

    return serve


def says(content: bytes, client: socket.socket) -> None:
    client.recv(1 << 16)
    client.sendall(content)


def silent(client: socket.socket) -> None:
    """Say nothing until the client goes."""
    while client.recv(1 << 16):
        pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("other", ["is off", "is ours", "says nothing"])
def test_345_etcd_stays_off_when_one_member_is_of_a_newer_authority(
    host: Host, version: ssl.TLSVersion, other: str
) -> None:
    """Whatever the other one shows."""
    with listening(THIRD, member(host.folder, NEWER.leaf(THIRD), version)) as port, ExitStack() as stack:
        if other != "is off":
            serve = member(host.folder, OURS.leaf(SECOND)) if other == "is ours" else silent
            stack.enter_context(listening(SECOND, serve, port))
        assert not host.starts(port, says=f"the member at {THIRD} is of a newer authority")


@pytest.mark.parametrize(
    ("shown", "trusts"),
    [
        pytest.param(OURS.leaf(SECOND), OURS.trusted, id="of our authority"),
        pytest.param(OURS.leaf(SECOND, NOW), OURS.trusted, id="renewed since ours"),
        pytest.param(NEWER.leaf(SECOND), OURS.trusted + NEWER.trusted, id="of the new authority in a rotation"),
        pytest.param(NEWER.leaf(SECOND), NEWER.trusted + OURS.trusted, id="of either, whatever the order"),
        pytest.param(Members(moment=NOW - timedelta(days=10)).leaf(SECOND), OURS.trusted, id="of an older authority"),
        pytest.param(Members("other").leaf(SECOND), OURS.trusted, id="of another cluster"),
    ],
)
def test_345_etcd_starts_when_another_member_shows_any_other_certificate(
    host: Host, shown: tuple[bytes, bytes], trusts: bytes
) -> None:
    host.has(trusts)
    with listening(SECOND, member(host.folder, shown)) as port:
        assert host.starts(port)


@pytest.mark.parametrize("ended", [LEAF_ENDED, ALL_ENDED, NOW + timedelta(days=9)], ids=["leaf", "all", "not begun"])
def test_345_no_clock_counts(host: Host, ended: datetime) -> None:
    """Neither for certificates of our authority, nor for those of a newer one."""
    ours = Members(moment=ended)
    host.has(ours.trusted, ours.leaf(OWN)[0])
    with listening(SECOND, member(host.folder, ours.leaf(SECOND, ended + timedelta(hours=1)))) as port:
        assert host.starts(port)
    newer = Members(moment=ended + timedelta(hours=1))
    with listening(SECOND, member(host.folder, newer.leaf(SECOND))) as port:
        assert not host.starts(port)


def half(folder: Path, client: socket.socket) -> None:
    """Send the beginning of what a member of a newer authority answers."""
    with (
        listening(THIRD, member(folder, NEWER.leaf(THIRD), ssl.TLSVersion.TLSv1_2)) as port,
        socket.create_connection((THIRD, port)) as there,
    ):
        there.sendall(client.recv(1 << 16))
        client.sendall(there.recv(200))


@pytest.mark.parametrize("answer", ["nothing", "an end", "garbage", "half of it"])
def test_345_etcd_starts_when_another_member_shows_no_certificate(host: Host, answer: str) -> None:
    serves: dict[str, Serve] = {
        "nothing": silent,
        "an end": partial(says, b""),
        "garbage": partial(says, b"\x16\x03\x03" + bytes(range(256))),
        "half of it": partial(half, host.folder),
    }
    with listening(SECOND, serves[answer]) as port:
        assert host.starts(port)


def test_345_etcd_starts_when_the_others_are_off(host: Host) -> None:
    assert host.starts(1)


BROKEN = {
    "no openssl": 'command() { [ "$2" != openssl ]; }',
    "openssl fails": "openssl() { return 1; }",
    "openssl knows no option": 'openssl() { [ "$1" != verify ] || return 1; command openssl "$@"; }',
    "openssl is killed": 'openssl() { case $* in verify*/127*) return 137 ;; esac; command openssl "$@"; }',
    "no time": "timeout() { return 127; }",
    "no folder": "mktemp() { return 1; }",
    "no dates": 'openssl() { [ "$1" != asn1parse ] || return 1; command openssl "$@"; }',
    **{f"no {name}": f'rm "$pki/{name}"' for name in ("peer.crt", "peer-ca.crt", "store.env")},
    "an empty file": ': >"$pki/peer-ca.crt"',
}


@pytest.mark.parametrize("broken", BROKEN)
def test_345_etcd_starts_when_the_host_cannot_look(host: Host, broken: str) -> None:
    with listening(SECOND, member(host.folder, NEWER.leaf(SECOND))) as port:
        line = "there is no openssl here" if broken == "no openssl" else ""
        assert host.starts(port, BROKEN[broken], says=line)


def test_345_etcd_starts_when_its_own_certificate_is_of_no_authority_that_it_trusts(host: Host) -> None:
    """Its files are about to be replaced."""
    host.has(own=Members(moment=NOW - timedelta(days=1)).leaf(OWN)[0])
    with listening(SECOND, member(host.folder, NEWER.leaf(SECOND))) as port:
        assert host.starts(port)


def test_345_a_member_that_is_alone_asks_nobody(host: Host) -> None:
    (host.folder / "store.env").write_text(f"OVERLAY_STORE=etcd://{OWN}:2379\n")
    assert host.starts(1, "timeout() { echo asked; }")
