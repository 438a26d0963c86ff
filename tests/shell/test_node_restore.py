"""The store of before a restore is put aside: really run, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_shell import SHELLS, Shell

from provision.planes.etcd.node import functions

IDENTITY = "0123456789abcdef"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def put_aside(shell: Shell) -> None:
    """Call the function with its folders below the test's own, and systemd out of it."""
    text = functions("changes")
    for path in ("/var/lib/etcd", "/etc/etcd", "/run/overlay-provision"):
        text = text.replace(path, f"{shell.folder}{path}")
    shell.run(f'systemctl() {{ echo "$*" >>called; }}\n{text}\nset_store_aside {shell.folder}/mark {IDENTITY}')


@pytest.fixture
def etcd(shell: Shell) -> Path:
    """A member with data, and a dockerd that was started on the store."""
    for path, content in {
        "var/lib/etcd/data/member/wal/0.wal": "log",
        "etc/etcd/bootstrap.env": "ETCD_INITIAL_CLUSTER_TOKEN=old",
        "run/overlay-provision/docker.service.inputs": "aa  /etc/docker/overlay/store.env\n"
        "bb  /etc/docker/overlay/ca.crt\n",
    }.items():
        (shell.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (shell.folder / path).write_text(content)
    return shell.folder / "var/lib/etcd"


def test_305_the_data_is_kept_whole_and_etcd_finds_none(shell: Shell, etcd: Path) -> None:
    put_aside(shell)
    (kept,) = etcd.iterdir()
    assert kept.name.startswith("removed-")
    assert (kept / "member/wal/0.wal").read_text() == "log"
    assert not (shell.folder / "etc/etcd/bootstrap.env").exists()
    assert "stop etcd.service" in (shell.folder / "called").read_text()


def test_305_dockerd_counts_as_started_with_another_list_of_members(shell: Shell, etcd: Path) -> None:
    put_aside(shell)
    assert etcd.exists()
    inputs = (shell.folder / "run/overlay-provision/docker.service.inputs").read_text()
    assert inputs == "bb  /etc/docker/overlay/ca.crt\n"


def test_305_the_mark_is_written_last_and_a_second_time_changes_nothing(shell: Shell, etcd: Path) -> None:
    put_aside(shell)
    mark = shell.folder / "mark"
    assert mark.read_text() == f"{IDENTITY}\n"
    assert mark.stat().st_mode & 0o777 == 0o600
    put_aside(shell)
    assert len(list(etcd.iterdir())) == 1


def test_305_a_host_without_a_member_is_marked_alone(shell: Shell) -> None:
    (shell.folder / "var/lib/etcd").mkdir(parents=True)
    put_aside(shell)
    assert (shell.folder / "mark").read_text() == f"{IDENTITY}\n"
