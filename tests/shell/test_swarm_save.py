"""A manager's files are copied while it writes: whole, again if something has changed, and never to a disk."""

from __future__ import annotations

import subprocess
import tarfile
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from node_shell import SHELLS

from provision.node import library
from provision.planes.swarm.node import functions


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    command: tuple[str, ...] = request.param
    return command


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Docker's folder of a manager, whose log is mostly a hole."""
    for name, content in {
        "raft/wal-v3-encrypted/0.wal": b"log" * 1000,
        "raft/snap-v3-encrypted/1.snap": b"snapshot",
        "certificates/swarm-node.key": b"key",
        "docker-state.json": b"{}",
    }.items():
        path = tmp_path / "docker" / "swarm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with (tmp_path / "docker/swarm/raft/wal-v3-encrypted/0.wal").open("r+b") as log:
        log.truncate(8_000_000)
    return tmp_path / "docker"


def saved(shell: tuple[str, ...], root: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    script = f"{library()}{functions('save')}\n{before}\nsave_swarm {root}\n"
    return subprocess.run(shell, input=script, cwd=root.parent, capture_output=True, text=True, check=False)


def files(copy: str) -> dict[str, int]:
    with tarfile.open(fileobj=BytesIO(b64decode(copy))) as there:
        return {member.name: member.size for member in there if member.isreg()}


def test_315_the_log_and_the_certificates_are_copied_and_nothing_else(shell: tuple[str, ...], root: Path) -> None:
    done = saved(shell, root)
    nothing, *copies = done.stdout.split("copy:\n")
    assert (nothing, done.stderr, done.returncode, len(copies)) == ("", "", 0, 1)
    assert files(copies[0]) == {
        "raft/wal-v3-encrypted/0.wal": 8_000_000,
        "raft/snap-v3-encrypted/1.snap": 8,
        "certificates/swarm-node.key": 3,
    }
    assert len(copies[0]) < 100_000
    assert {path.name for path in root.iterdir()} == {"swarm"}


@pytest.mark.parametrize(("changes", "copies"), [(1, 2), (9, 3)])
def test_315_what_changes_meanwhile_is_copied_again_a_few_times(
    shell: tuple[str, ...], root: Path, changes: int, copies: int
) -> None:
    """The last copy counts. That tar says 1, for a file that has changed, is no failure."""
    writes = f"""
        tar() {{
            [ "$1" != --version ] || {{ command tar "$@"; return; }}
            number=$(($(cat ../number 2>/dev/null) + 1)); echo $number >../number
            echo written >raft/snap-v3-encrypted/$number.snap
            [ $number -gt {changes} ] && rm raft/snap-v3-encrypted/$number.snap
            command tar "$@"
            return 1
        }}"""
    done = saved(shell, root, writes)
    _, *found = done.stdout.split("copy:\n")
    assert (done.stderr, done.returncode, len(found)) == ("", 0, copies)
    assert f"raft/snap-v3-encrypted/{min(changes, copies)}.snap" in files(found[-1])


def test_315_a_copy_that_fails_is_none(shell: tuple[str, ...], root: Path) -> None:
    done = saved(shell, root, "tar() { return 2; }")
    assert (done.returncode, done.stderr) == (1, f"tar cannot copy the swarm in {root}\n")
    (root / "swarm").rename(root / "other")
    done = saved(shell, root)
    assert (done.returncode, done.stderr) == (1, f"there is no swarm in {root}\n")
