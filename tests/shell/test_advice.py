"""Every command in the project's messages is run by a test: here those for the controller, on a lab those for hosts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from advice import IN_A_SWARM, NONE, NOT_RUN, ON_A_HOST, ON_THE_CONTROLLER, PARTS, advised

COMMANDS = sorted(set(advised()) - NONE)
OURS = [command for command in COMMANDS if command.startswith("fab")]
TESTED = {*ON_A_HOST, *IN_A_SWARM, *ON_THE_CONTROLLER, *PARTS, *NOT_RUN}


def test_173_every_command_that_is_advised_is_run_by_a_test_or_says_why_not() -> None:
    assert sorted(set(COMMANDS) - set(OURS) - TESTED) == []


def test_173_no_command_is_listed_that_nothing_advises() -> None:
    assert sorted(TESTED - set(COMMANDS)) == []
    assert sorted(NONE - set(advised())) == []


def test_173_every_command_begins_as_it_is_advised() -> None:
    assert [key for key, one in (ON_A_HOST | IN_A_SWARM).items() if not one.command.startswith(key)] == []


#: Values for options that need one.
VALUES = {"--host": "192.0.2.1", "--ignore": "clock", "--keep": "node1", "--only": "node1", "-i": "inventory.yml"}
VALUES |= dict.fromkeys(("backup", "restore"), "cluster.tar.gz")


@pytest.mark.parametrize("command", OURS)
def test_173_our_own_verbs_and_options_exist(command: str, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("fab")
    words = [more for word in command.split()[1:] for more in (word, *([VALUES[word]] if word in VALUES else []))]
    if "--prompt-for-sudo-password" in words or words == ["-i", "inventory.yml"]:
        words += ["plan"]
    if words == ["run"]:
        words += ["script"]
    root = Path(__file__).parents[2]
    # Without an inventory every verb that exists ends with 2, and init without a second host; an unknown one with 1.
    done = subprocess.run(
        [program, "-r", root, *words], cwd=tmp_path, input="\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr


@pytest.mark.parametrize("command", ON_THE_CONTROLLER)
def test_173_a_command_for_the_controller_runs(command: str, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    public = (tmp_path / "key.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[host.example]:2222 {public}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = {**os.environ, "HOME": str(tmp_path), "PORT": str(listener.getsockname()[1])}
        done = subprocess.run(
            ["sh", "-c", ON_THE_CONTROLLER[command]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
