"""known_hosts as OpenSSH reads it. The hashed line was made by `ssh-keygen -H`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.remote import host_keys
from provision.remote.host_keys import HostKey, entries, judge, preferred, record

ED = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIHVW0d6Zz0Y3Nbq5Yb2cYf4bq0q1b1nC2cU1Vv1V1V1V")
OTHER = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
RSA = HostKey("ssh-rsa", "AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==")
FILE = Path("known_hosts")


def verdict(text: str, name: str, key: HostKey = ED) -> str:
    return judge(entries(FILE, text), name, key)[0]


@pytest.mark.parametrize(
    ("names", "name", "covered"),
    [
        ("host", "host", True),
        ("host", "host2", False),
        ("HOST", "host", True),
        ("a,host,b", "host", True),
        ("[host]:2222", "[host]:2222", True),
        ("[host]:2222", "host", False),
        ("host", "[host]:2222", False),
        ("*.example", "a.example", True),
        ("192.0.2.?", "192.0.2.7", True),
        ("192.0.2.?", "192.0.2.77", False),
        ("*.example,!b.example", "a.example", True),
        ("*.example,!b.example", "b.example", False),
        ("[a-c]", "b", False),
        ("|1|broken", "host", False),
    ],
)
def test_a_line_covers_the_names_it_names(names: str, name: str, covered: bool) -> None:
    assert verdict(f"{names} {ED.type} {ED.text}", name) == ("known" if covered else "unknown")


def test_a_key_is_known_among_several_and_changed_when_none_fits() -> None:
    text = f"host {OTHER.type} {OTHER.text}\nhost {ED.type} {ED.text} comment\n"
    assert verdict(text, "host") == "known"
    text = f"\n# host {ED.type} {ED.text}\nhost {RSA.type} {RSA.text}\nhost {OTHER.type} {OTHER.text}\n"
    judged, entry = judge(entries(FILE, text), "host", ED)
    assert judged == "changed"
    assert entry is not None
    assert (entry.line, entry.key) == (4, OTHER), "the old key of the same kind is the one to name"


def test_a_revoked_key_is_revoked_even_if_it_is_listed() -> None:
    assert verdict(f"host {ED.type} {ED.text}\n@revoked * {ED.type} {ED.text}\n", "host") == "revoked"


def test_an_authority_is_no_host_key() -> None:
    assert verdict(f"@cert-authority * {ED.type} {ED.text}\n", "host") == "unknown"


@pytest.mark.parametrize("line", ["", "host", "host ssh-ed25519", "host ssh-ed25519 %%%", "@revoked", "\0\0 \0 \0"])
def test_lines_that_cannot_be_understood_are_passed_over(line: str) -> None:
    assert verdict(f"{line}\nhost {ED.type} {ED.text}\n", "host") == "known"


def test_known_kinds_are_asked_for_first_and_rsa_in_its_modern_forms() -> None:
    known = tuple(entries(FILE, f"host {RSA.type} {RSA.text}\n"))
    offered = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
    assert preferred(known, "host", offered) == (*offered[2:], *offered[:2])
    assert preferred(known, "other", offered) == offered


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_keys, "SYSTEM_FILE", tmp_path / "none")


def test_recording_appends_once_and_mends_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "ssh" / "known_hosts"
    path.parent.mkdir()
    path.write_text("# no line end")
    record(path, "host", ED)
    record(path, "host", ED)
    assert path.read_text() == f"# no line end\nhost {ED.type} {ED.text}\n"


def test_recording_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    record(tmp_path / "link", "host", ED)
    assert (tmp_path / "link").is_symlink()
    assert "host" in (tmp_path / "real").read_text()


def test_a_new_file_and_folder_are_the_users_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        record(tmp_path / "ssh" / "known_hosts", "host", ED)
    finally:
        os.umask(old)
    assert (tmp_path / "ssh").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "ssh" / "known_hosts").stat().st_mode & 0o777 == 0o600


def test_the_systems_file_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_keys, "SYSTEM_FILE", tmp_path / "system")
    (tmp_path / "system").write_text(f"host {ED.type} {ED.text}\n")
    assert judge(host_keys.read(tmp_path / "none"), "host", ED)[0] == "known"
