"""The output of a run that is closed, full, or a pipe that nobody reads; and a locale without UTF-8."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from provision.report.progress import Progress
from provision.streams import OutputClosed

ROOT = Path(__file__).parents[2]
SIGPIPE = -signal.SIGPIPE


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory whose hosts refuse connections; a comment is not ASCII."""
    path = tmp_path / "inventory.yml"
    nodes = "".join(
        f"  n{last}: {{address: 192.0.2.{last}, ssh: {{host: 127.0.0.1, port: {last}}}}}\n" for last in (1, 2)
    )
    etcd = f"etcd: {{source: {tmp_path}/none.tar.gz}}\n"
    path.write_text(f"version: 1\ncluster: demo  # ü\nnodes:\n{nodes}{etcd}", encoding="utf-8")
    return path


@contextmanager
def unread() -> Iterator[int]:
    """Give a pipe that nobody reads any more."""
    read, written = os.pipe()
    os.close(read)
    yield written
    os.close(written)


def fab(*words: object, end: str = "", **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Run plain Fabric from the checkout; `end` is the shell's redirection."""
    script = f'exec "$0" "$@" {end}'
    command = ["sh", "-c", script, str(Path(sys.executable).with_name("fab")), *map(str, words)]
    done: dict[str, Any] = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "timeout": 60, "check": False}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(command, **{**done, **streams, **more})


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_167_a_run_that_looks_ends_as_others_end_if_nobody_reads(inventory: Path, stream: str) -> None:
    with unread() as pipe:
        done = fab("-i", inventory, "plan", "--json", **{stream: pipe})
    assert done.returncode == SIGPIPE
    assert b"Traceback" not in (done.stderr or b"")


def test_a_backup_is_not_thrown_away_unseen(inventory: Path) -> None:
    done = fab("-i", inventory, "backup", "-", end=">&-")
    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("--list",), ("plan", "--help")])
def test_167_what_fabric_prints_ends_so_too(words: tuple[str, ...]) -> None:
    with unread() as pipe:
        done = fab(*words, stdout=pipe)
    assert (done.returncode, done.stderr) == (SIGPIPE, b"")
    done = fab(*words, end=">/dev/full")
    assert (done.returncode, done.stderr) == (2, b"the output could not be written: No space left on device\n")


@pytest.mark.parametrize("end", [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1", "| :"])
def test_167_a_run_that_changes_something_goes_on_to_its_end(tmp_path: Path, end: str) -> None:
    words = ("init", "--host", "192.0.2.1", "--host", "192.0.2.2", "--inventory", tmp_path / "new.yml")
    done = fab(*words, end=end)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert "192.0.2.2" in (tmp_path / "new.yml").read_text()


@pytest.mark.parametrize(("end", "code"), [(">&-", 2), ("2>&-", 2), (">/dev/full", 2), ("2>/dev/full", 2)])
def test_167_a_closed_or_full_stream_is_no_traceback(tmp_path: Path, end: str, code: int) -> None:
    done = fab("plan", "--json", "--inventory", tmp_path / "none.yml", end=end)
    assert done.returncode == code
    assert b"Traceback" not in done.stdout + done.stderr


def test_167_what_is_printed_to_a_closed_stream_goes_nowhere_else(inventory: Path) -> None:
    done = fab("-i", inventory, "plan", "--json", end="2>&-")
    assert done.stdout.startswith(b"{")
    assert b"connecting" not in done.stdout


def test_167_progress_ends_only_a_run_that_needs_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    with unread() as pipe, os.fdopen(pipe, "w", closefd=False) as nobody, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", nobody)
        quiet = Progress(live=False)
        quiet.say("node1", "goes on")
        quiet.say("node1", "goes on")
        with pytest.raises(OutputClosed):
            Progress(live=False, needs_a_reader=True).say("node1", "ends")
        patch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), pipe)  # so that what is left unwritten can be flushed


@pytest.mark.parametrize("words", [("plan",), ("status",), ("trust",), ("--list",), ("run", "SCRIPT")])
def test_168_a_locale_without_utf_8_is_no_fault(inventory: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    script = tmp_path / "skript-ü.sh"
    script.write_text("echo ü\n", encoding="utf-8")
    words = tuple(str(script) if word == "SCRIPT" else word for word in words)
    ascii_only = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C", "LANG": "C"}
    done = fab("-i", inventory, *words, env=ascii_only)
    assert done.returncode == (0 if words == ("--list",) else 3), done.stderr
    assert b"Traceback" not in done.stdout + done.stderr
