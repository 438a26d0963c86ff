"""What the shell library puts on a node, really run: whole, or not at all."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from node_shell import OTHER, SHELLS, STRANGE, Shell, calling, hash_of, names, seen

NEW = bytes(range(256)) * 300
ETCD = "#!/bin/sh\necho etcd Version: 1.2.3\n"
TOP = "etcd-v1.2.3-linux-amd64"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


# ---- files ----


@pytest.mark.parametrize("content", [b"", b"text\n", NEW], ids=["empty", "text", "bytes"])
@pytest.mark.parametrize(("mode", "owner"), [("0400", OTHER), ("0644", "root:root"), ("0600", OTHER)])
def test_a_file_arrives_whole_with_its_mode_and_its_owner(shell: Shell, content: bytes, mode: str, owner: str) -> None:
    path = shell.folder / STRANGE
    shell.call("put_file", path, mode, owner, hash_of(content), text=content)
    assert seen(path) == (content, int(mode, 8), owner)
    assert names(shell.folder) == [STRANGE]


def test_a_file_is_replaced_by_another_and_not_written_over(shell: Shell) -> None:
    path, kept = shell.folder / "file", shell.folder / "kept"
    path.write_text("old")
    kept.hardlink_to(path)
    shell.call("put_file", path, "0644", "root:root", hash_of(NEW), text=NEW)
    assert path.read_bytes() == NEW
    assert kept.read_text() == "old"


def test_a_link_is_replaced_by_the_file_and_what_it_led_to_is_not(shell: Shell) -> None:
    (shell.folder / "theirs").write_text("old")
    (shell.folder / "file").symlink_to("theirs")
    shell.call("put_file", shell.folder / "file", "0644", "root:root", hash_of(b"new"), text=b"new")
    assert not (shell.folder / "file").is_symlink()
    assert (shell.folder / "theirs").read_text() == "old"


@pytest.mark.parametrize("before", ["file", "link"])
def test_what_a_killed_run_left_half_written_is_no_obstacle(shell: Shell, before: str) -> None:
    left = shell.folder / ".file.overlay-provision"
    (shell.folder / "theirs").write_text("old")
    left.write_text("half") if before == "file" else left.symlink_to("theirs")
    shell.call("put_file", shell.folder / "file", "0600", "root:root", hash_of(b"new"), text=b"new")
    assert seen(shell.folder / "file") == (b"new", 0o600, "root:root")
    assert names(shell.folder) == ["file", "theirs"]
    assert (shell.folder / "theirs").read_text() == "old"


@pytest.mark.parametrize("before", ["old", None])
def test_damaged_content_is_refused_and_nothing_is_in_its_place(shell: Shell, before: str | None) -> None:
    path = shell.folder / STRANGE
    if before is not None:
        path.write_text(before)
    complaint = shell.complaint("put_file", path, "0644", "root:root", hash_of(b"sent"), text=b"arrived")
    assert complaint == f"{path} arrived damaged: its checksum differs\n"
    assert (path.read_text() if path.exists() else None) == before


@pytest.mark.parametrize(("folder", "owner"), [("absent", "root:root"), (".", "no-such-user:root")])
def test_a_file_that_cannot_be_put_is_told(shell: Shell, folder: str, owner: str) -> None:
    path = shell.folder / folder / "file"
    assert "cannot " in shell.complaint("put_file", path, "0644", owner, hash_of(b""))
    assert not path.exists()


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(shell: Shell, tmp_path: Path) -> None:
    trace = tmp_path.parent / f"{tmp_path.name}.trace"
    calls = "trace=fsync,syncfs,rename,renameat,renameat2,chmod,fchmodat,chown,fchownat"
    put = calling("put_file", tmp_path / "file", "0400", OTHER, hash_of(NEW), text=NEW)
    done = shell.try_to(put, "strace", "-f", "-y", "-o", trace, "-e", calls)
    assert done.returncode == 0, done.stderr
    traced = re.findall(r"(fsync|rename|chmod|chown)\w*\((.*)\) += 0", trace.read_text())
    assert [name for name, _ in traced] == ["fsync", "chown", "chmod", "rename", "fsync"]
    assert f"{tmp_path}/.file.overlay-provision" in traced[0][1]
    assert traced[-1][1].endswith(f"<{tmp_path}>")


def test_a_file_is_roots_alone_from_its_first_byte(shell: Shell) -> None:
    """Looked at before and while it is written, its umask open. What changes later is traced above."""
    path, fifo, coming = shell.folder / "file", shell.folder / "fifo", shell.folder / ".file.overlay-provision"
    os.mkfifo(fifo)
    put = f"umask 0; {shlex.join(('put_file', str(path), '0444', OTHER, hash_of(NEW)))} <{shlex.quote(str(fifo))}"
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(shell.run, put)
        with fifo.open("wb") as stream:
            while not running.done() and not coming.exists():
                pass
            assert seen(coming) == (b"", 0o600, "root:root")
            encoded = b64encode(NEW)
            stream.write(encoded[:90_000])
            stream.flush()
            while not running.done() and not coming.stat().st_size:
                pass
            assert seen(coming)[1:] == (0o600, "root:root")
            stream.write(encoded[90_000:])
        running.result()
    assert seen(path) == (NEW, 0o444, OTHER)


# ---- folders and links ----


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_has_its_mode_and_its_owner(shell: Shell, there: bool) -> None:
    path = shell.folder / "a b" / "c'd"
    if there:
        path.mkdir(0o777, parents=True)
        (path / "theirs").touch()
    shell.call("put_folder", path, "0750", OTHER)
    assert seen(path) == (b"", 0o750, OTHER)
    assert names(path) == ["theirs"] * there


def test_100_a_link_to_a_folder_is_followed_and_one_that_leads_nowhere_is_told(shell: Shell) -> None:
    (shell.folder / "theirs").mkdir(0o755)
    (shell.folder / "ours").symlink_to("theirs")
    shell.call("put_folder", shell.folder / "ours", "0700", OTHER)
    assert seen(shell.folder / "theirs") == (b"", 0o700, OTHER)
    assert (shell.folder / "ours").is_symlink()
    (shell.folder / "dangling").symlink_to("nowhere")
    complaint = shell.complaint("put_folder", shell.folder / "dangling", "0700", OTHER)
    assert f"cannot make the folder {shell.folder}/dangling" in complaint


def test_a_file_where_a_folder_should_be_is_told(shell: Shell) -> None:
    (shell.folder / "file").write_text("theirs")
    complaint = shell.complaint("put_folder", shell.folder / "file", "0700", OTHER)
    assert f"cannot make the folder {shell.folder}/file" in complaint
    assert seen(shell.folder / "file")[0] == b"theirs"


@pytest.mark.parametrize("before", ["absent", "a file", "a link", "a link to a folder", "a dangling link"])
def test_a_link_is_switched_whatever_was_there(shell: Shell, before: str) -> None:
    (shell.folder / "folder").mkdir()
    (shell.folder / "old").write_text("old")
    path = shell.folder / STRANGE
    if before == "a file":
        path.write_text("theirs")
    elif before != "absent":
        path.symlink_to({"a link": "old", "a link to a folder": "folder", "a dangling link": "nowhere"}[before])
    shell.call("put_link", path, "to it's new")
    assert str(path.readlink()) == "to it's new"
    assert names(shell.folder) == sorted([STRANGE, "folder", "old"])
    assert names(shell.folder / "folder") == []


def test_a_folder_in_the_place_of_a_link_is_told_and_stays(shell: Shell) -> None:
    (shell.folder / "folder").mkdir()
    (shell.folder / "folder/theirs").touch()
    assert "cannot make the link" in shell.complaint("put_link", shell.folder / "folder", "new")
    assert names(shell.folder / "folder") == ["theirs"]


# ---- the release ----


def archive(folder: Path, etcd: str = ETCD) -> Path:
    top = folder / "made" / TOP
    top.mkdir(parents=True)
    for name, text in {"etcd": etcd, "etcdctl": "#!/bin/sh\n", "README.md": "words"}.items():
        (top / name).write_text(text)
        (top / name).chmod(0o700)
        shutil.chown(top / name, "nobody", "nogroup")
    path = folder / "it's etcd.tar.gz"
    subprocess.run(["tar", "-czf", path, "-C", folder / "made", TOP], check=True)
    shutil.rmtree(folder / "made")
    return path


def putting(path: Path, folder: Path) -> tuple[object, ...]:
    return "put_release", path, folder, "hash of etcd", "hash of etcdctl", "1.2.3", TOP


@pytest.mark.parametrize("there", [False, True], ids=["absent", "another there"])
def test_a_release_is_unpacked_run_and_stamped(shell: Shell, there: bool) -> None:
    path, folder = archive(shell.folder), shell.folder / "releases dir" / "1.2.3"
    folder.parent.mkdir()
    if there:
        folder.mkdir()
        (folder / "etcd").write_text("damaged")
        (folder / "more").touch()
    shell.call(*putting(path, folder))
    assert seen(folder / "etcd") == (ETCD.encode(), 0o755, "root:root")
    assert seen(folder / "etcdctl")[1:] == (0o755, "root:root")
    assert names(folder) == ["etcd", "etcdctl"]
    assert names(folder.parent) == ["1.2.3"]
    assert not path.exists()
    facts = "".join(f"hash\t{folder}/{name}\thash of {name}\n" for name in ("etcd", "etcdctl"))
    assert shell.call("fact_large", folder / "etcd", folder / "etcdctl") == facts


@pytest.mark.parametrize(
    "etcd",
    ["#!/bin/sh\necho etcd Version: 1.2.33\n", "#!/bin/sh\nexit 1\n", "\x7fELF of another CPU", "#!/no/such/shell\n"],
    ids=["another version", "fails", "another CPU", "no interpreter"],
)
def test_41_a_release_that_does_not_run_here_is_not_put(shell: Shell, etcd: str) -> None:
    path, folder = archive(shell.folder, etcd), shell.folder / "1.2.3"
    folder.mkdir()
    (folder / "etcd").write_text("old")
    assert "the etcd pushed does not run here as version 1.2.3" in shell.complaint(*putting(path, folder))
    assert names(folder) == ["etcd"]


@pytest.mark.parametrize("percent", [0, 50, 99])
def test_a_release_cut_short_is_not_put(shell: Shell, percent: int) -> None:
    path, folder = archive(shell.folder), shell.folder / "1.2.3"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * percent // 100])
    assert f"cannot unpack {path}" in shell.complaint(*putting(path, folder))
    assert not folder.exists()


def test_a_release_without_both_binaries_is_not_put(shell: Shell) -> None:
    path, folder = archive(shell.folder), shell.folder / "1.2.3"
    words = [*putting(path, folder)[:-1], "another-top"]
    assert f"cannot unpack {path}" in shell.complaint(*words)
    assert not folder.exists()


def test_damaged_content_leaves_no_temporary(shell: Shell) -> None:
    shell.complaint("put_file", shell.folder / "file", "0644", "root:root", hash_of(b"sent"), text=b"arrived")
    assert names(shell.folder) == []


def test_a_file_that_cannot_be_given_away_leaves_no_temporary(shell: Shell) -> None:
    shell.complaint("put_file", shell.folder / "file", "0644", "no-such-user:x", hash_of(b""))
    assert names(shell.folder) == []


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_in_the_place_of_a_file_is_told(shell: Shell, link: bool) -> None:
    path = shell.folder / "real"
    path.mkdir()
    if link:
        (shell.folder / "link").symlink_to("real")
        path = shell.folder / "link"
    done = shell.try_to(calling("put_file", path, "0644", "root:root", hash_of(b"x"), text=b"x"))
    assert (names(shell.folder / "real"), path.is_file() or done.returncode == 1) == ([], True)


def test_a_link_over_a_folder_leaves_no_temporary(shell: Shell) -> None:
    (shell.folder / "folder").mkdir()
    shell.complaint("put_link", shell.folder / "folder", "new")
    assert names(shell.folder) == ["folder"]


def test_a_stamp_does_not_hold_for_a_file_that_is_gone(shell: Shell) -> None:
    path = shell.folder / STRANGE
    path.touch()
    shell.call("stamp", path, "value")
    path.unlink()
    assert shell.try_to(calling("stamped", "hash", path)).stdout == ""


def test_a_release_whose_names_begin_with_a_dot_is_unpacked(shell: Shell) -> None:
    path = archive(shell.folder)
    subprocess.run(["tar", "-xzf", path], cwd=shell.folder, check=True)
    subprocess.run(["tar", "-czf", path, f"./{TOP}"], cwd=shell.folder, check=True)
    shell.call(*putting(path, shell.folder / "1.2.3")[:-1], f"./{TOP}")


def test_a_failed_release_leaves_nothing_beside(shell: Shell) -> None:
    path = archive(shell.folder, "#!/bin/sh\nexit 1\n")
    shell.complaint(*putting(path, shell.folder / "1.2.3"))
    assert names(shell.folder) == ["it's etcd.tar.gz"]


def test_a_folder_loses_a_setgid_bit(shell: Shell) -> None:
    (shell.folder / "folder").mkdir()
    (shell.folder / "folder").chmod(0o2775)
    shell.call("put_folder", shell.folder / "folder", "0755", "root:root")
    assert seen(shell.folder / "folder") == (b"", 0o755, "root:root")


def test_a_file_in_a_setgid_folder_has_the_group_that_is_planned(shell: Shell) -> None:
    shutil.chown(shell.folder, "nobody", "nogroup")
    shell.folder.chmod(0o2775)
    shell.call("put_file", shell.folder / "file", "0644", "root:root", hash_of(b""))
    assert seen(shell.folder / "file") == (b"", 0o644, "root:root")


def test_a_folder_made_in_a_setgid_one_has_the_mode_that_is_planned(shell: Shell) -> None:
    shutil.chown(shell.folder, "root", "staff")  # as /usr/local/lib is where Debian was upgraded from of old
    shell.folder.chmod(0o2775)
    shell.call("put_folder", shell.folder / "etcd", "0755", "root:root")
    assert seen(shell.folder / "etcd") == (b"", 0o755, "root:root")
