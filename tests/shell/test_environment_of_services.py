"""Programs that stay on a node, and etcd: what systemd gives every service in its environment changes nothing."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from node_shell import SHELLS

from provision.planes.etcd.node import DOCKER_STORE, MEND
from provision.planes.etcd.node import program as of_etcd
from provision.planes.swarm.node import MEND as SWARM_MEND
from provision.planes.swarm.node import program as of_swarm
from provision.templates import render

#: What a user's DefaultEnvironment may hold, or a drop-in of docker.service.
GIVEN = {
    "DOCKER_TLS_VERIFY": "1",
    "DOCKER_CONTEXT": "elsewhere",
    "DOCKER_CONFIG": "/nowhere",
    "ETCDCTL_ENDPOINT": "http://192.0.2.9",
    "ETCD_DISCOVERY": "http://192.0.2.9/token",
    "ETCD_NAME": "another",
    "HTTPS_PROXY": "http://192.0.2.9",
    "BASH_ENV": "/nowhere",
    "name": "lower case",
    "TWO_LINES": "one\nETCD_FAKE=1",
}
PROGRAMS = {"docker-store": of_etcd(*DOCKER_STORE), "mend": of_etcd(*MEND), "swarm's mend": of_swarm(*SWARM_MEND)}


@pytest.mark.parametrize("command", SHELLS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_214_a_program_that_stays_has_an_environment_of_its_own(
    command: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    (tmp_path / "store.env").write_text("")
    functions, _, _ = PROGRAMS[name].decode().rpartition("case ${1-} in")
    environment = {**GIVEN, "PATH": "/usr/bin:/bin", "OVERLAY_PKI": str(tmp_path)}
    done = subprocess.run(
        command, input=f"{functions}\nenv\n", env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    left = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert left - {"PWD", "SHLVL", "OLDPWD", "_"} - {"GOGC"} == {"DOCKER_HOST", "LC_ALL", "OVERLAY_PKI", "PATH"}


def test_214_etcd_has_the_environment_of_its_files_alone(tmp_path: Path) -> None:
    bootstrap, environment = tmp_path / "bootstrap", tmp_path / "environment"
    bootstrap.write_text(
        "# its cluster\nETCD_INITIAL_CLUSTER=node1=https://192.0.2.1:2380,node2=https://192.0.2.2:2380\n"
    )
    environment.write_text("ETCD_NAME=node1\n")
    text = render(
        "etcd/etcd.service.j2",
        cluster="demo",
        version="3.5.30",
        environment=environment,
        bootstrap=bootstrap,
        binary="env",
        before_start="/before-start",
        peer_port=2380,
        data="/var/lib/etcd",
        inputs=("/x",),
        inputs_folder="/run",
    ).decode()
    (line,) = (line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart="))
    done = subprocess.run(shlex.split(line), env=GIVEN, capture_output=True, text=True, check=True)
    told = [line for line in done.stdout.splitlines() if not line.startswith("PWD=")]
    assert sorted(told) == sorted(
        ["ETCD_INITIAL_CLUSTER=node1=https://192.0.2.1:2380,node2=https://192.0.2.2:2380", "ETCD_NAME=node1"]
    )
    assert "EnvironmentFile" not in text
