"""The way of the README from addresses to a script on every host: init, trust, run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from remote_sshd import Sshd, StartSshd

ROOT = Path(__file__).parents[3]


def fab(*words: str, code: int = 0) -> dict[str, Any]:
    """Run plain Fabric from the checkout; its report."""
    command = [str(Path(sys.executable).with_name("fab")), *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def inventory(tmp_path: Path, start: StartSshd) -> str:
    """What init writes for two hosts, which are two servers on this machine."""
    path = tmp_path / "inventory.yml"
    fab("init", "--host", "root@192.0.2.1", "--host", "root@192.0.2.2", "--inventory", str(path))
    text = path.read_text()
    for address in ("192.0.2.1", "192.0.2.2"):
        server: Sshd = start()
        login = {"host": "127.0.0.1", "port": server.port, "key": str(server.key)}
        text = text.replace(f"address: {address}", f"address: {address}\n    ssh: {json.dumps(login)}")
    path.write_text(text)
    return str(path)


def test_a_host_is_not_spoken_to_until_it_is_trusted(inventory: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("id -u\n")
    assert len(fab("-i", inventory, "run", str(script), code=3)["problems"]) == 2
    assert [row["state"] for row in fab("-i", inventory, "trust")["host_keys"]] == ["recorded", "recorded"]
    assert [row["state"] for row in fab("-i", inventory, "trust")["host_keys"]] == ["known", "known"]
    ran = fab("-i", inventory, "run", str(script))["outcomes"]
    assert [(outcome["where"], outcome["evidence"]) for outcome in ran] == [("node1", "0"), ("node2", "0")]


def test_a_script_that_fails_on_a_host_is_told_with_all_it_said(inventory: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("echo said; echo complained >&2; exit 3\n")
    fab("-i", inventory, "trust")
    ran = fab("-i", inventory, "run", str(script), code=4)["outcomes"]
    assert [outcome["status"] for outcome in ran] == ["failed", "failed"]
    assert {outcome["evidence"] for outcome in ran} == {"said\ncomplained"}
    assert {outcome["advice"] for outcome in ran} == {"the script ended with exit code 3"}


def test_a_script_that_is_not_there_is_a_mistake_of_usage(inventory: str, tmp_path: Path) -> None:
    fab("-i", inventory, "run", str(tmp_path / "none.sh"), code=2)


def test_158_another_ssh_configuration_may_be_named(inventory: str, tmp_path: Path) -> None:
    script, configuration = tmp_path / "script.sh", tmp_path / "ssh_config"
    script.write_text("true\n")
    fab("-i", inventory, "trust")
    (problem,) = fab("-S", str(configuration), "-i", inventory, "run", str(script), code=2)["problems"]
    assert f"Can't open user config file {configuration}" in problem["what"]
    configuration.write_text(f"Host *\n  ProxyCommand sh -c 'echo >{tmp_path}/used; exec nc %h %p'\nMatch final all\n")
    fab("-S", str(configuration), "-i", inventory, "run", str(script))
    assert (tmp_path / "used").exists()


def test_164_a_script_that_starts_a_daemon_does_not_keep_the_next_run_out(inventory: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    daemon = "setsid sh -c 'echo $$ >/run/daemon; exec sleep 1000' >/dev/null 2>&1 </dev/null &"
    script.write_text(f"{daemon}\nuntil [ -s /run/daemon ]; do :; done\n")
    fab("-i", inventory, "trust")
    fab("-i", inventory, "run", str(script))
    script.write_text("kill $(cat /run/daemon)\n")
    assert fab("-i", inventory, "run", str(script), "--timeout", "40")["exit_code"] == 0


def test_167_a_run_that_nobody_listens_to_goes_on_to_its_end(inventory: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(f"echo >>{tmp_path}/ran\n")
    fab("-i", inventory, "trust")
    read, written = os.pipe()
    os.close(read)
    command = [str(Path(sys.executable).with_name("fab")), "-i", inventory, "run", str(script)]
    done = subprocess.run(command, cwd=ROOT, stdout=written, stderr=written, timeout=60, check=False)
    os.close(written)
    assert done.returncode == 0
    assert len((tmp_path / "ran").read_text()) == 2
