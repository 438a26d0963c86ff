"""Swarm mode's program that makes dockerd's configuration at each of its starts, run by shells as nodes have them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from node_shell import SHELLS

from provision.docker.hardening import defaults
from provision.inventory.model import Hardening
from provision.planes.swarm.node import DOCKER_CONFIG, program

ROTATED = {"max-size": "10m", "max-file": "3"}

Make = Callable[[], Any]


@pytest.fixture(params=SHELLS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Return a function that runs the program and returns dockerd's configuration."""
    path = tmp_path / "docker-config"
    path.write_bytes(program(*DOCKER_CONFIG))
    (tmp_path / "hardening").write_bytes(defaults(Hardening(), flags=""))
    run = tmp_path / "run"
    environment = {"OVERLAY_HARDENING": str(tmp_path / "hardening"), "OVERLAY_RUN": str(run)}

    def call() -> Any:
        command = [*request.param, str(path), str(tmp_path / "user's daemon.json")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert [(one.name, one.stat().st_mode & 0o777) for one in run.iterdir()] == [("daemon.json", 0o600)]
        return json.loads((run / "daemon.json").read_text())

    return call


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (None, {"no-new-privileges": True, "log-opts": ROTATED}),
        ("{}", {"no-new-privileges": True, "log-opts": ROTATED}),
        (
            '{"log-opts": {"tag": "{{.Name}} $x"}}',
            {"no-new-privileges": True, "log-opts": {"tag": "{{.Name}} $x"}},
        ),
        (
            '{"no-new-privileges": false, "debug": true}',
            {"no-new-privileges": False, "debug": True, "log-opts": ROTATED},
        ),
    ],
    ids=["no file", "empty", "their log-opts", "their privileges"],
)
def test_our_defaults_are_added_to_what_the_user_says(
    make: Make, tmp_path: Path, users: str | None, expected: dict[str, Any]
) -> None:
    if users is not None:
        (tmp_path / "user's daemon.json").write_text(users)
    assert make() == expected


def test_each_start_reads_what_is_there_then(make: Make, tmp_path: Path) -> None:
    make()
    (tmp_path / "user's daemon.json").write_text('{"log-driver": "syslog"}')
    (tmp_path / "hardening").write_bytes(defaults(Hardening(no_new_privileges=False), flags=""))
    assert make() == {"log-driver": "syslog"}
    (tmp_path / "hardening").unlink()
    assert make() == {"log-driver": "syslog"}
