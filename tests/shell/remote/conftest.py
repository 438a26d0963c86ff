from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from remote_sshd import Sshd, StartSshd

from provision.remote import openssh

#: OpenSSH with the configuration of HOME, and with no other: OpenSSH itself looks up the home of the user's account.
SSH = """#!/bin/sh
config=$HOME/.ssh/config
[ -f "$config" ] || config=none
exec /usr/bin/ssh -F "$config" "$@"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of the test's own: no keys, no agent, no configuration of the machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(openssh, "home", lambda: tmp_path)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text(SSH)
    (tmp_path / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    openssh.options.cache_clear()
    yield tmp_path
    openssh.options.cache_clear()


@pytest.fixture
def start() -> Iterator[StartSshd]:
    """Start servers; they are stopped after the test. Their folder must be open to users other than root."""
    folder = Path(tempfile.mkdtemp(prefix="sshd-"))
    folder.chmod(0o755)
    servers: list[Sshd] = []

    def start(options: str = "", **more: Any) -> Sshd:
        servers.append(Sshd.start(folder / str(len(servers)), options, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def server(start: StartSshd) -> Sshd:
    return start()


@pytest.fixture(autouse=True)
def no_thread_dies(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An exception in a thread is an error of the test, not a line on stderr."""
    died: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    yield
    assert not died
