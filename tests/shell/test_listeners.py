"""Who listens on a port: the unit of a process is known by its control group, not by a PID of a moment ago."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_shell import SHELLS, Shell

from provision.facts import parse

#: By process: its parent, and its control groups.
PROCESSES = {
    11: (1, "0::/system.slice/etcd.service\n"),
    12: (1, "12:pids:/\n1:name=systemd:/own.slice/docker.service/main\n"),
    13: (12, "0::/system.slice/docker.service\n"),  # a proxy of dockerd
    14: (1, "0::/machine.slice/host.service/system.slice/etcd.service\n"),  # seen from outside the host
    15: (1, "0::/user.slice/user-0.slice/session-1.scope\n"),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    for process, (parent, groups) in PROCESSES.items():
        folder = tmp_path / "proc" / str(process)
        folder.mkdir(parents=True)
        (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nUid:\t0\n")
        (folder / "cgroup").write_text(groups)
    return Shell(request.param, tmp_path)


def listeners(shell: Shell, users: str) -> list[tuple[str, str]]:
    """Return each listener's owner and unit, where `ss` lists one with these users."""
    stands_in = f"ss() {{ echo 'tcp LISTEN 0 4096 192.0.2.1:2380 0.0.0.0:* {users}'; }}\nproc=$PWD/proc\n"
    return [(one.owner, one.unit) for one in parse(shell.run(f"{stands_in}fact_ports 2380")).listeners]


@pytest.mark.parametrize(
    ("users", "unit"),
    [
        ('users:(("etcd",pid=11,fd=3))', "etcd.service"),
        ('users:(("containerd",pid=13,fd=9),("dockerd",pid=12,fd=9))', "docker.service"),
        ('users:(("docker-proxy",pid=13,fd=3))', ""),
        ('users:(("etcd",pid=14,fd=3))', "etcd.service"),
        ('users:(("nc",pid=15,fd=3))', ""),
    ],
)
def test_332_a_listener_is_of_the_unit_whose_main_process_has_the_port(shell: Shell, users: str, unit: str) -> None:
    assert listeners(shell, users) == [(users, unit)]


def test_332_what_has_ended_meanwhile_has_no_port(shell: Shell) -> None:
    assert listeners(shell, 'users:(("etcd",pid=99,fd=3))') == []


def test_332_a_port_of_the_kernel_is_nobodys(shell: Shell) -> None:
    assert listeners(shell, "") == [("unknown", "")]
