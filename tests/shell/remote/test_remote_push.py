from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from remote_sshd import BUSYBOX, SUDO_PASSWORD, StartSshd

from provision.errors import StepFailed
from provision.remote import Login, Remote, connect
from provision.remote.scripts import push_line


@pytest.fixture(params=["root", "ops", "root on busybox"])
def remote(request: pytest.FixtureRequest, start: StartSshd) -> Iterator[Remote]:
    user, _, place = request.param.partition(" ")
    server = start(namespace=BUSYBOX if place else "")
    remote = connect(server.node(user=user), Login(sudo_password=SUDO_PASSWORD))
    yield remote
    remote.close()


def listing(remote: Remote, folder: str) -> str:
    """The names in a folder, hidden ones first. (The `ls` of busybox prints no é.)"""
    return remote.run(f'cd {folder}; for x in .[!.]* *; do [ ! -e "$x" ] || printf "%s\\n" "$x"; done').stdout


def test_bytes_arrive_with_their_mode_and_belong_to_root(remote: Remote) -> None:
    data = bytes(range(256)) * 10_000
    remote.push(data, "/run/file", mode=0o640)
    assert remote.run("stat -c '%a %U %G' /run/file; sha256sum </run/file").stdout.split() == [
        *("640", "root", "root"),
        *(sha256(data).hexdigest(), "-"),
    ]


def test_a_file_arrives_from_a_path_and_is_secret_by_default(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3_000_001))
    remote.push(tmp_path / "big", "/run/big")
    assert remote.run("stat -c '%a %s' /run/big").stdout == "600 3000001\n"


def test_an_empty_file_is_a_file(remote: Remote) -> None:
    remote.push(b"", "/run/empty")
    assert remote.run("stat -c %s /run/empty").stdout == "0\n"


@pytest.mark.parametrize("name", ["with blank", "a'b\"c", "-rf", "$(id)", "*", "é", ".hidden"])
def test_strange_names_are_only_names(remote: Remote, name: str) -> None:
    remote.run("mkdir /run/x")
    remote.push(b"one", f"/run/x/{name}")
    remote.push(b"two", f"/run/x/{name}")
    assert listing(remote, "/run/x") == f"{name}\n"
    assert remote.run("cat /run/x/* /run/x/.h* 2>/dev/null").stdout.startswith("two")


def test_a_link_is_replaced_and_what_it_led_to_is_not(remote: Remote) -> None:
    remote.run("echo old >/run/old; ln -s old /run/new")
    remote.push(b"fresh", "/run/new")
    assert remote.run("cat /run/old /run/new; [ -L /run/new ] || echo file").stdout == "old\nfreshfile\n"


@pytest.mark.parametrize("kept", [0, 1, 500_000, 999_999])
def test_57_an_upload_cut_short_leaves_the_old_file_and_nothing_else(remote: Remote, kept: int) -> None:
    remote.run("mkdir /run/x; echo old >/run/x/file")
    data = os.urandom(1_000_000)
    shell = remote.shell("half a file", 10)
    shell.send(push_line("mark", "/run/x/file", sha256(data).hexdigest(), 0o600).encode() + data[:kept])
    shell.end_input()
    result = shell.finish("mark")
    assert (result.code, result.stderr) == (1, "the checksum of the received file does not match\n")
    assert (listing(remote, "/run/x"), remote.run("cat /run/x/file").stdout) == ("file\n", "old\n")


def test_57_an_upload_whose_connection_dies_leaves_nothing(remote: Remote) -> None:
    remote.run("mkdir /run/x")
    shell = remote.shell("half a file", 10)
    shell.send(push_line("mark", "/run/x/file", "0" * 64, 0o600).encode() + b"part")
    while not remote.run("cat /run/x/.file.pushed.*").stdout:
        pass
    shell.close()
    while listing(remote, "/run/x"):
        pass


def test_what_a_killed_upload_left_goes_with_the_next(remote: Remote) -> None:
    remote.run("mkdir /run/x; echo part >/run/x/.file.pushed.AbCdEf; echo other >/run/x/.file2.pushed.AbCdEf")
    remote.push(b"whole", "/run/x/file")
    assert listing(remote, "/run/x") == ".file2.pushed.AbCdEf\nfile\n"


def test_59_a_full_disk_is_told_and_leaves_the_old_file(remote: Remote) -> None:
    remote.run("mkdir /run/x; mount -t tmpfs -o size=64k small /run/x; echo old >/run/x/file")
    with pytest.raises(StepFailed, match=r"node1: /run/x/file could not be written: .*[Nn]o space"):
        remote.push(os.urandom(1_000_000), "/run/x/file")
    assert (listing(remote, "/run/x"), remote.run("cat /run/x/file").stdout) == ("file\n", "old\n")


def test_a_missing_folder_is_told(remote: Remote) -> None:
    with pytest.raises(StepFailed, match=r"node1: /run/none/file could not be written: .*/run/none"):
        remote.push(b"x" * 5_000_000, "/run/none/file")


def test_a_folder_in_the_place_of_the_file_is_told_and_kept(remote: Remote) -> None:
    with pytest.raises(StepFailed, match="a folder is in its place"):
        remote.push(b"", "/run/sshd")


@pytest.mark.parametrize("path", ["relative", "/ends/", "/two\nlines"])
def test_a_path_that_is_none_is_a_bug_of_the_caller(remote: Remote, path: str) -> None:
    with pytest.raises(ValueError, match="not the absolute path of a file"):
        remote.push(b"", path)
