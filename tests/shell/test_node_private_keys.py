"""The search for private keys on a node, really run: an authority's key is found in any file, and named as no other."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent

import pytest
from node_shell import SHELLS, STRANGE, Shell

from provision.checks.key_files import read
from provision.node import library
from provision.pki import certificates

PRIVATE_KEYS = library("private_keys").removeprefix(library())
KEY = certificates.new_key()
PEM = certificates.key_pem(KEY).decode()
POINT = certificates.point(certificates.sign_authority("demo", "docker", KEY, datetime.now(UTC)))
OTHER = certificates.key_pem(certificates.new_key()).decode()
#: The point of another authority, whose key is in no file.
ABSENT = "04" + "ab" * 64


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def found(shell: Shell) -> dict[str, str]:
    """Return the points of the keys in each file below `places`, by the file's name."""
    told = shell.run(f"{PRIVATE_KEYS}\nfind_private_keys {POINT} {ABSENT} -- places absent")
    return {path.removeprefix("places/"): points.strip() for points, path in (x.split("\t") for x in told.splitlines())}


def converted(*command: str) -> str:
    return subprocess.run(command, input=PEM, capture_output=True, text=True, check=True).stdout


def openssh(folder: Path) -> str:
    path = folder / "converted"
    path.write_text(PEM)
    path.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "", "-f", path], check=True, capture_output=True)
    return path.read_text()


def test_86_an_authoritys_key_is_found_however_it_is_written(shell: Shell) -> None:
    folder = shell.folder / "places"
    (folder / "below it").mkdir(parents=True)
    written = {
        "ca.key": PEM,
        "below it/sec1.pem": converted("openssl", "ec"),
        "openssh": openssh(shell.folder),
        "crlf.pem": PEM.replace("\n", "\r\n"),
        "settings.yml": f"key: |\n{indent(PEM, '    ')}",
        "settings.json": json.dumps({"key": PEM}),
        "bundle.pem": OTHER + PEM,
        STRANGE: PEM,
        "-n": PEM,
    }
    for name, text in written.items():
        (folder / name).write_text(text)
    assert "OPENSSH" in written["openssh"]
    assert found(shell) == dict.fromkeys(written, POINT)


def test_86_a_name_with_a_line_end_hides_nothing(shell: Shell) -> None:
    (shell.folder / "places").mkdir()
    (shell.folder / "places/new\nline").write_text(PEM)
    assert found(shell) == {"new?line": POINT}


def test_86_other_keys_are_told_without_a_point_and_other_files_not_at_all(shell: Shell) -> None:
    (shell.folder / "places").mkdir()
    texts = {
        "leaf.key": OTHER,
        "damaged.key": PEM[:80] + "\n-----END PRIVATE KEY-----\n",
        "encrypted.key": converted("openssl", "pkcs8", "-topk8", "-passout", "pass:word"),
        "ca.crt": PEM.replace("PRIVATE KEY", "CERTIFICATE"),
        "large": PEM + "x" * (2 << 20),
    }
    for name, text in texts.items():
        (shell.folder / "places" / name).write_text(text)
    assert found(shell) == dict.fromkeys(("leaf.key", "damaged.key", "encrypted.key"), "")


def test_85_files_are_told_with_kind_mode_and_owner(shell: Shell) -> None:
    folder = shell.folder / "pki"
    folder.mkdir(mode=0o700)
    for name, text, mode in (("a.key", PEM, 0o400), ("b.crt", "-----BEGIN CERTIFICATE-----", 0o444), ("c", "", 0o644)):
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    (folder / "copy of a").write_text(PEM)
    (folder / "copy of a").chmod(0o644)
    (shell.folder / "link").symlink_to(folder)
    script = f"{PRIVATE_KEYS}\ndescribe_key_files pki\ndescribe_paths folder link absent\ndescribe_paths folder"
    told = {(one.kind, one.mode, one.owner, one.path) for one in read(shell.try_to(script).stdout)}
    assert told == {
        ("key", 0o400, "root:root", "pki/a.key"),
        ("key", 0o644, "root:root", "pki/copy of a"),
        ("certificate", 0o444, "root:root", "pki/b.crt"),
        ("other", 0o644, "root:root", "pki/c"),
        ("folder", 0o700, "root:root", "link"),
    }


def test_87_a_key_is_seen_in_arguments_environments_and_journals(shell: Shell) -> None:
    for name, text in (("own.key", PEM), ("other.key", OTHER)):
        (shell.folder / name).write_text(text)
    look = "find_key_leaks 'docker etcd' own.key other.key absent.key"
    quiet, loud = ("journalctl() { :; }", f"journalctl() {{ cat {shell.folder}/own.key; }}")
    assert shell.run(f"{PRIVATE_KEYS}\n{quiet}\n{look}").splitlines() == ["own.key", "other.key"]
    assert shell.run(f"{PRIVATE_KEYS}\n{loud}\n{look}").splitlines() == [
        *("own.key", "other.key", "read journal", "journal"),
    ]
    command = ["sh", "-c", "echo ready; read line", PEM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"KEY": OTHER}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        told = shell.run(f"{PRIVATE_KEYS}\n{quiet}\n{look}").split()
        process.communicate(b"end\n")
    assert {f"/proc/{process.pid}/cmdline", f"/proc/{process.pid}/environ"} <= set(told)


def test_87_where_no_key_is_nothing_is_seen(shell: Shell) -> None:
    assert shell.run(f"{PRIVATE_KEYS}\njournalctl() {{ echo any; }}\nfind_key_leaks docker absent.key") == ""
