"""The identity: what each leaf may do, and what is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from pki_sample import contents, node, sample, verify

from provision.inventory.model import Cluster
from provision.planes.etcd import pki
from provision.planes.etcd.pki import Authority, Identity

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
PURPOSES = ("sslserver", "sslclient")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return sample(tmp_path)


def certificate(cluster: Cluster, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((cluster.folder / f"{name}.crt").read_bytes())


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
