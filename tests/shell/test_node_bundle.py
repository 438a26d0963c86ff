"""What a node tells of itself for a bundle, really run: bounded, told apart, and without a private key."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_shell import SHELLS, STRANGE, Shell, calling

from provision.bundle import collection
from provision.bundle.collection import read
from provision.node import library
from provision.planes.etcd.node import functions

BUNDLE = library("bundle").removeprefix(library()) + functions("bundle")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def told(shell: Shell, script: str, *, seconds: int = 20, size: int = 10_000) -> dict[str, str]:
    return dict(read(shell.run(f"{BUNDLE}\nbundle_begin mark {seconds} {size}\n{script}"), "mark").parts)


def test_parts_are_told_apart_with_both_streams_and_exit_code(shell: Shell) -> None:
    script = "part a/one sh -c 'echo out; echo wrong >&2; exit 3'\npart a/two printf 'say mark b/x'"
    assert told(shell, script) == {"a/one": "out\nwrong\n\n[exit code 3]\n", "a/two": "say mark b/x"}


def test_a_command_that_hangs_is_stopped_and_the_next_one_asked(shell: Shell) -> None:
    script = "part_seconds=1\npart a/hangs sh -c 'echo began; sleep 600'\npart a/next echo there"
    found = told(shell, script)
    assert found["a/hangs"].replace("Terminated\n", "") == "began\n\n[stopped after 1 s]\n"  # busybox says so itself
    assert found["a/next"] == "there\n"


def test_when_the_time_is_up_no_more_is_asked_and_it_is_said(shell: Shell) -> None:
    script = "part a/late touch there; [ ! -e there ] || die asked"
    assert told(shell, script, seconds=0) == {"a/late": "[left out: the time for this node was up]\n"}


def test_a_part_is_cut_where_it_is_too_long_at_a_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "PART_BYTES", 12)
    found = told(shell, "part a/long sh -c 'yes 12345'", size=12)
    assert found["a/long"] == "12345\n12345\n[cut after 12 bytes]\n"


@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH "])
def test_a_private_key_is_never_sent(shell: Shell, kind: str) -> None:
    key = f"-----BEGIN {kind}PRIVATE KEY-----\nc4n4ry\nc4n4ry\n-----END {kind}PRIVATE KEY-----\n"
    (shell.folder / STRANGE).write_text(f"before\n{key}after\n{key[:-40]}")
    answer = shell.run(
        f"{BUNDLE}\nbundle_begin mark 20 10000\n{calling('part_file', 'a/file', shell.folder / STRANGE)}"
    )
    assert "c4n4ry" not in answer
    assert read(answer, "mark").parts == {"a/file": "before\nafter\n"}


def test_what_is_not_there_is_no_part(shell: Shell) -> None:
    assert told(shell, "part_file a/file absent\npart_if no-such-program a/program no-such-program") == {}


def test_a_name_that_leads_elsewhere_and_an_answer_that_ends_early_are_seen(shell: Shell) -> None:
    found = read(
        shell.run(f"{BUNDLE}\nbundle_begin mark 9 99\npart ../../x echo x\npart /x/y echo y\npart a/b echo b"), "mark"
    )
    assert found.parts == {"a/b": "b\n"}
    assert found.missing


def test_all_of_it_runs_to_its_end_on_whatever_host_and_writes_nothing(shell: Shell) -> None:
    found = read(shell.run(f"{BUNDLE}\nbundle mark 20 100000"), "mark")
    assert found.missing == ""
    assert {"etcd/journal", "docker/unit", "system/versions", "system/disk"} <= set(found.parts)
    assert list(shell.folder.iterdir()) == []
