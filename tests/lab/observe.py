"""Observations of a node from outside, without SSH and without the code under test."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision import lab as labs
from provision.lab import OPS_PASSWORD, Lab

_MANIFEST = r"""
cd /
find etc usr/local -xdev -printf '%p %y %m %u:%g %l\n' | sort
find etc usr/local -xdev -type f -exec sha256sum {} + | sort
ls -d /var/lib/etcd /var/lib/overlay-provision 2>/dev/null
docker network ls --format '{{.Name}} {{.Driver}}' | sort
getent passwd | sort
getent group | sort
systemctl list-unit-files --no-legend | sort
dpkg --get-selections | grep -w hold | sort
"""
_FILES = r"""
find /etc/etcd /etc/docker /usr/local /etc/systemd/system/etcd.service /etc/systemd/system/docker.service.d \
    -printf '%p %i %m %u %T@\n' 2>/dev/null | sort
"""


def lost_pings(told: str) -> int:
    """Return how many pings were lost, from busybox's output. The last one may be under way when ping is ended."""
    sent, came = re.search(r"(\d+) packets transmitted", told), re.findall(r"\bseq=(\d+)", told)
    assert sent, f"the pings were not counted: {told[-300:]}"
    assert len(came) > 10, "few pings came back"
    return len(set(range(int(sent[1]) - 1)) - set(map(int, came)))


def run(lab: Lab, node: str, script: str) -> str:
    result = labs.execute(lab.name, node, ["sh", "-c", script], timeout=120)
    assert result.returncode == 0, f"{node}: {script}\n{result.stdout}{result.stderr}"
    return result.stdout


@contextmanager
def seeded(lab: Lab, node: str, fault: str, cure: str) -> Iterator[None]:
    """Cause a fault on a node for the time of the block. Every command of both scripts has to succeed."""
    run(lab, node, f"set -e\n{fault}")
    try:
        yield
    finally:
        run(lab, node, f"set -e\n{cure}")


def manifest(lab: Lab, node: str) -> list[str]:
    """Return everything that reset has to restore."""
    return run(lab, node, _MANIFEST + "true").splitlines()


def files(lab: Lab, node: str) -> dict[str, str]:
    """Return inode, mode, owner and time of everything that provision may change, by path."""
    return dict(line.split(" ", 1) for line in run(lab, node, _FILES + "true").splitlines())


def start(lab: Lab, node: str, unit: str) -> str:
    """Return the time at which a unit's process was started."""
    return run(lab, node, f"systemctl show -p ExecMainStartTimestampMonotonic --value {unit}").strip()


def everything(lab: Lab) -> dict[str, Any]:
    """Return the files and the units' start times of every node."""
    return {
        node.name: (files(lab, node.name), {u: start(lab, node.name, u) for u in ("etcd", "docker")})
        for node in lab.nodes
    }


def document(result: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    """Return the JSON that a verb printed. Assert its exit code."""
    try:
        found: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        found = {}
    wrong = [*found.get("problems", ()), *(o for o in found.get("outcomes", ()) if o["status"] == "failed")]
    told = "\n".join(map(str, wrong)) or result.stdout[-3000:]
    assert result.returncode == code, f"exit {result.returncode}\n{told}\n{result.stderr[-3000:]}"
    return found


def steps(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The changes of a report in order: those of its first stage, and after them those that it foresees."""
    first = [(change["where"], change["action"], change["resource"]) for change in report["changes"]]
    return first + [(row["where"], row["action"], row["what"]) for row in report.get("afterwards", ())]


def with_password(lab: Lab, inventory: Path, *words: str) -> tuple[int, str]:
    """Run fab inside the lab's network, and type the sudo password when Fabric asks for it."""
    command = [*lab.inside, str(Path(sys.executable).with_name("fab")), "-i", str(inventory)]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(Path(__file__).parents[2])
        os.environ.pop("SSH_AUTH_SOCK", None)
        os.execvp(command[0], [*command, "--prompt-for-sudo-password", *words])
    output, answered = b"", False
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        output += part
        if not answered and b"password" in output.lower():
            os.write(terminal, OPS_PASSWORD.encode() + b"\n")
            answered = True
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status), output.decode(errors="replace")
