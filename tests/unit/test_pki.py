"""The identity: what each leaf may do, what is kept, what is remade, what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from provision import pki
from provision.errors import Exit, PreflightRefused
from provision.inventory.model import SSH, Cluster, Etcd, Network, Node, Probe
from provision.pki import Authority, Identity, identity

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)


def node(name: str, address: str, *, member: bool = True) -> Node:
    ssh = SSH(address, "ops", 22, None, Path("known_hosts"), "strict", None)
    return Node(name, address, member, ssh)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    nodes = (node("node1", "192.0.2.1"), node("node2", "192.0.2.2"), node("node3", "192.0.2.3", member=False))
    networks = (Network("demo", IPv4Network("10.99.0.0/24")),)
    path = tmp_path / "inventory.yml"
    return Cluster("demo", nodes, Etcd("etcd.tar.gz", None), "etcd", networks, Probe("busybox", None), path)


def certificate(cluster: Cluster, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((cluster.folder / f"{name}.crt").read_bytes())


def contents(cluster: Cluster) -> dict[str, tuple[int, bytes]]:
    """Every file's inode and content: what must not move when there is nothing to do."""
    files = (path for path in cluster.folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in files}


def verify(folder: Path, authority: Authority, name: str, purpose: str, *more: str) -> str:
    """Ask OpenSSL, which shares no code of ours, what it thinks of a leaf for a purpose."""
    files = ["-CAfile", f"{folder / authority}/ca.crt", f"{folder / authority}/{name}.crt"]
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, *more, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_a_cluster_needs_these_leaves(cluster: Cluster) -> None:
    assert [str(leaf) for leaf in pki.leaves(cluster)] == [
        *(
            "etcd-peer/node1-peer",
            "etcd-client/node1-server",
            "etcd-client/node1-docker",
            "docker/node1-server",
        ),
        *(
            "etcd-peer/node2-peer",
            "etcd-client/node2-server",
            "etcd-client/node2-docker",
            "docker/node2-server",
        ),
        *("etcd-client/node3-docker", "docker/node3-server"),
        *("etcd-client/controller", "docker/controller"),
    ]


@pytest.mark.parametrize("name", ["ca", "controller", "node-server", "x" * 63])
def test_no_node_name_is_a_file_of_anything_else(cluster: Cluster, name: str) -> None:
    crowded = replace(cluster, nodes=(node(name, "192.0.2.1"), node("node", "192.0.2.2")))
    made = pki.make(crowded)
    assert made.missing() == ()
    assert len({str(leaf) for leaf in pki.leaves(crowded)}) == len(pki.leaves(crowded))


@pytest.mark.parametrize(
    ("name", "address", "uses"),
    [
        ("etcd-peer/node1-peer", "192.0.2.1", [SERVER, CLIENT]),
        ("etcd-client/node1-server", "192.0.2.1", [SERVER, CLIENT]),
        ("etcd-client/node1-docker", None, [CLIENT]),
        ("etcd-client/controller", None, [CLIENT]),
        ("docker/node1-server", "192.0.2.1", [SERVER]),
        ("docker/controller", None, [CLIENT]),
    ],
)
def test_a_leaf_is_for_its_purpose_and_address_alone(
    cluster: Cluster, name: str, address: str | None, uses: list[x509.ObjectIdentifier]
) -> None:
    pki.make(cluster, NOW)
    found = certificate(cluster, name)
    assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == uses
    names = [one.value for one in found.extensions if isinstance(one.value, x509.SubjectAlternativeName)]
    assert names == ([x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))])] if address else [])
    assert found.not_valid_before_utc == NOW - timedelta(hours=1)
    assert found.not_valid_after_utc == NOW - timedelta(hours=1) + timedelta(days=825)


def test_openssl_accepts_each_leaf_for_its_purpose_and_no_other(cluster: Cluster) -> None:
    pki.make(cluster)
    for leaf in pki.leaves(cluster):
        verdicts = {kind: verify(cluster.folder, leaf.authority, leaf.name, kind) for kind in PURPOSES}
        assert {kind for kind, verdict in verdicts.items() if not verdict} == {
            kind for kind, wanted in zip(PURPOSES, (leaf.server, leaf.client), strict=True) if wanted
        }
        if leaf.address:
            assert not verify(cluster.folder, leaf.authority, leaf.name, "any", "-verify_ip", leaf.address)
            assert verify(cluster.folder, leaf.authority, leaf.name, "any", "-verify_ip", "192.0.2.9")


PURPOSES = ("sslserver", "sslclient")


def test_no_authority_vouches_for_anothers_leaf(cluster: Cluster) -> None:
    pki.make(cluster)
    shutil.copy(cluster.folder / "etcd-client/controller.crt", cluster.folder / "etcd-peer/stray.crt")
    assert verify(cluster.folder, Authority.PEER, "stray", "sslclient")


def test_keys_are_closed_and_out_of_git(cluster: Cluster) -> None:
    pki.make(cluster)
    keys = list(cluster.folder.rglob("*.key"))
    assert len(keys) == len(pki.leaves(cluster)) + len(Authority)
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o400}
    assert {path.stat().st_mode & 0o777 for path in (cluster.folder, *cluster.folder.glob("*/"))} == {0o700}
    assert (cluster.folder.parent / ".gitignore").read_text() == "*\n"


@pytest.mark.usefixtures("open_umask")
def test_a_key_is_closed_from_its_first_byte(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is looked at when it is opened, still empty, under a umask that hides nothing."""
    real, seen = os.open, {}

    def watched(path: str | Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        if flags & os.O_CREAT:
            seen[Path(path).name] = (os.fstat(descriptor).st_mode & 0o777, os.fstat(descriptor).st_size)
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    pki.make(cluster)
    keys = {name: state for name, state in seen.items() if ".key" in name}
    assert "ca.key.new" in keys
    assert set(keys.values()) == {(0o400, 0)}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_reading_a_bare_folder_writes_nothing_and_tells_what_would_be_made(cluster: Cluster) -> None:
    before = Identity.read(cluster)
    assert not cluster.folder.parent.exists()
    assert [need for need in before.missing() if need.what.startswith("authority")] == [
        ("authority etcd-peer", "create"),
        ("authority etcd-client", "create"),
        ("authority docker", "create"),
    ]
    assert len(before.missing()) == 3 + len(pki.leaves(cluster))
    assert not before.exists(Authority.PEER)
    assert before.fingerprint(Authority.PEER) is None
    assert before.get(pki.CONTROLLER_STORE) is None


def test_a_second_make_moves_nothing(cluster: Cluster) -> None:
    first = pki.make(cluster)
    before = contents(cluster)
    second = pki.make(cluster)
    assert contents(cluster) == before
    assert second.issued == first.issued
    assert second.missing() == ()


def test_what_is_issued_belongs_together_and_hides_its_key(cluster: Cluster) -> None:
    made = pki.make(cluster)
    for leaf in pki.leaves(cluster):
        issued = made.get(leaf)
        assert issued is not None
        found = x509.load_pem_x509_certificate(issued.certificate)
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(issued.authority))
        assert load_pem_private_key(issued.key, None).public_key() == found.public_key()
        assert pki.expiry(issued.certificate) == found.not_valid_after_utc
        assert b"PRIVATE" in issued.key
        assert "PRIVATE" not in repr(issued)
    assert "PRIVATE" not in repr(made)


def test_the_fingerprint_is_what_openssl_says(cluster: Cluster) -> None:
    made = pki.make(cluster)
    command = [
        "openssl",
        "x509",
        "-noout",
        "-fingerprint",
        "-sha256",
        "-in",
        f"{cluster.folder}/docker/ca.crt",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert made.fingerprint(Authority.DOCKER) == said.partition("=")[2].strip().replace(":", "").lower()


def test_a_node_more_makes_its_leaves_and_no_others(cluster: Cluster) -> None:
    pki.make(cluster)
    before = contents(cluster)
    larger = replace(cluster, nodes=(*cluster.nodes, node("node4", "192.0.2.4", member=False)))
    assert Identity.read(larger).missing() == (
        ("leaf etcd-client/node4-docker", "create"),
        ("leaf docker/node4-server", "create"),
    )
    assert pki.make(larger).missing() == ()
    assert contents(larger).items() >= before.items()


def test_a_node_that_moved_gets_new_leaves_where_its_address_is_in_them(cluster: Cluster) -> None:
    pki.make(cluster)
    moved = replace(cluster, nodes=(node("node1", "192.0.2.7"), *cluster.nodes[1:]))
    expected = tuple((f"leaf {leaf}", "renew") for leaf in pki.leaves(moved) if leaf.address == "192.0.2.7")
    assert len(expected) == 3
    assert Identity.read(moved).missing() == expected


@pytest.mark.parametrize(("days", "fit"), [(794, True), (796, False), (900, False)])
def test_a_leaf_is_renewed_thirty_days_before_its_end(cluster: Cluster, days: int, fit: bool) -> None:
    pki.make(cluster, NOW)
    later = NOW + timedelta(days=days)
    before = Identity.read(cluster, later)
    assert (before.get(pki.CONTROLLER_DOCKER) is not None) is fit
    after = pki.make(cluster, later).get(pki.CONTROLLER_DOCKER)
    assert after is not None
    assert pki.expiry(after.certificate) > later + timedelta(days=30)


@pytest.mark.parametrize("days", [3000, 3649, 4000])
def test_an_old_authority_signs_itself_anew_with_its_key_and_its_leaves_stay(
    cluster: Cluster, days: int
) -> None:
    first = pki.make(cluster, NOW)
    old = (cluster.folder / "docker/ca.crt").read_bytes()
    pki.make(cluster, NOW + timedelta(days=days - 60))
    kept = (cluster.folder / "docker/node1-server.crt").read_bytes()
    later = NOW + timedelta(days=days)
    renewed = pki.make(cluster, later)
    assert renewed.missing() == ()
    assert (cluster.folder / "docker/node1-server.crt").read_bytes() == kept
    assert pki.expiry((cluster.folder / "docker/ca.crt").read_bytes()) > later + timedelta(days=855)
    assert renewed.fingerprint(Authority.DOCKER) != first.fingerprint(Authority.DOCKER)
    assert renewed.recognises(Authority.DOCKER, old)
    assert not renewed.recognises(Authority.PEER, old)
    moment = ("-attime", str(int(later.timestamp())))
    assert not verify(cluster.folder, Authority.DOCKER, "node1-server", "sslserver", *moment)


@pytest.mark.parametrize("spoil", ["truncate", "remove the key", "another's key", "open to all"])
def test_a_leaf_that_is_no_longer_fit_is_made_again(cluster: Cluster, spoil: str) -> None:
    pki.make(cluster)
    crt, key = (cluster.folder / f"docker/controller.{kind}" for kind in ("crt", "key"))
    key.chmod(0o644)
    if spoil == "truncate":
        crt.chmod(0o644)
        crt.write_bytes(crt.read_bytes()[:100])
    elif spoil == "remove the key":
        key.unlink()
    elif spoil == "another's key":
        key.write_bytes((cluster.folder / "etcd-client/controller.key").read_bytes())
    renew = ("leaf docker/controller", "renew")
    tighten = ("mode of demo/docker/controller.key", "tighten")
    expected = {"remove the key": {renew}, "open to all": {tighten}}.get(spoil, {renew, tighten})
    assert set(Identity.read(cluster).missing()) == expected
    assert pki.make(cluster).missing() == ()
    assert key.stat().st_mode & 0o777 == 0o400


def test_a_leaf_of_another_authority_is_not_taken(cluster: Cluster) -> None:
    pki.make(cluster)
    for kind in ("crt", "key"):
        (cluster.folder / f"docker/controller.{kind}").unlink()
        shutil.copy2(cluster.folder / f"etcd-client/controller.{kind}", cluster.folder / "docker")
    assert Identity.read(cluster).missing() == (("leaf docker/controller", "renew"),)


@pytest.mark.parametrize(
    "spoil", ["truncate", "truncate the key", "remove the key", "another's key", "a folder"]
)
def test_a_damaged_authority_is_refused_and_left_alone(cluster: Cluster, spoil: str) -> None:
    pki.make(cluster)
    crt, key = (cluster.folder / f"etcd-peer/ca.{kind}" for kind in ("crt", "key"))
    for path in (crt, key):
        path.chmod(0o600)
    if spoil == "truncate":
        crt.write_bytes(crt.read_bytes()[:200])
    elif spoil == "truncate the key":
        key.write_bytes(key.read_bytes()[:100])
    elif spoil == "another's key":
        key.write_bytes((cluster.folder / "docker/ca.key").read_bytes())
    else:
        key.unlink()
        if spoil == "a folder":
            key.mkdir()
    before = contents(cluster)
    for action in (Identity.read, pki.make):
        with pytest.raises(PreflightRefused) as refusal:
            action(cluster)
        assert refusal.value.exit_code == Exit.REFUSED
        assert str(cluster.folder / "etcd-peer") in str(refusal.value)
        assert "copy" in str(refusal.value)
    assert contents(cluster) == before


def test_a_folder_open_to_others_is_closed(cluster: Cluster) -> None:
    pki.make(cluster)
    cluster.folder.chmod(0o755)
    (cluster.folder / "docker").chmod(0o750)
    assert Identity.read(cluster).missing() == (
        ("mode of demo", "tighten"),
        ("mode of demo/docker", "tighten"),
    )
    assert pki.make(cluster).missing() == ()
    assert cluster.folder.stat().st_mode & 0o777 == 0o700


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("point", range(0, 31, 2))
@pytest.mark.parametrize("half_written", [False, True])
def test_killed_at_any_write_it_converges(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, point: int, half_written: bool
) -> None:
    real, count = identity._write, iter(range(1000))

    def fatal(path: Path, content: bytes, mode: int) -> None:
        if next(count) == point:
            if half_written:
                path.with_name(path.name + identity.PARTIAL).write_bytes(content[:20])
            raise Killed
        real(path, content, mode)

    with monkeypatch.context() as patched:
        patched.setattr(identity, "_write", fatal)
        with pytest.raises(Killed):
            pki.make(cluster)
    kept = {path: inode for path, (inode, _) in contents(cluster).items() if path.endswith("/ca.key")}
    assert pki.make(cluster).missing() == ()
    assert not list(cluster.folder.rglob(f"*{identity.PARTIAL}"))
    after = {path: inode for path, (inode, _) in contents(cluster).items()}
    assert after.items() >= kept.items(), "an authority's key, once there, is never replaced"


def test_two_at_once_make_one_identity(cluster: Cluster) -> None:
    results: list[Identity] = []
    threads = [threading.Thread(target=lambda: results.append(pki.make(cluster))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.fingerprint(name) for result in results for name in Authority}) == len(Authority)
    assert all(result.issued == results[0].issued for result in results)


def test_a_folder_that_cannot_be_written_is_refused_with_advice(cluster: Cluster) -> None:
    cluster.folder.parent.write_text("a file in the way")
    with pytest.raises(PreflightRefused, match="must be writable by you"):
        pki.make(cluster)
