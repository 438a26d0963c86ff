"""What the Vagrantfile runs on each machine so that it has an ID of its own: its boxes are clones of one disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLONED = "0123456789abcdef0123456789abcdef\n"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def script() -> str:
    """Return the part of the Vagrantfile, as Vagrant sends it."""
    found = re.search(r"MACHINE_ID = <<~SHELL\.freeze\n(.*?)\nSHELL\n", (ROOT / "Vagrantfile").read_text(), re.DOTALL)
    assert found
    return textwrap.dedent(found[1])


def run(folder: Path, shell: str) -> str:
    """Run it on a machine whose /etc and /var/lib/dbus are in the folder; return its ID."""
    places = f"mount --bind {folder}/etc /etc && mkdir -p /var/lib/dbus && mount --bind {folder}/dbus /var/lib/dbus"
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", f'{places} && exec {shell} -c "$0"', script()]
    subprocess.run(command, check=True, capture_output=True)
    return (folder / "etc/machine-id").read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A clone, with the ID of its disk in both places."""
    for name in ("etc", "dbus"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "machine-id").write_text(CLONED)
    shutil.copy("/etc/ld.so.cache", tmp_path / "etc")
    return tmp_path


@pytest.mark.parametrize("shell", ["dash", "busybox sh", "bash"])
def test_172_each_machine_gets_an_id_of_its_own_and_keeps_it(machine: Path, shell: str) -> None:
    first = run(machine, shell)
    assert re.fullmatch("[0-9a-f]{32}\n", first)
    assert first != CLONED
    # Vagrant may be told to run it again.
    assert run(machine, shell) == first


def test_172_a_clone_of_such_a_machine_gets_another(machine: Path) -> None:
    first = run(machine, "dash")
    shutil.rmtree(machine / "dbus")
    (machine / "dbus").mkdir()
    (machine / "etc/machine-id").write_text(CLONED)
    assert run(machine, "dash") not in (first, CLONED)


def test_172_the_vagrantfile_runs_it_and_leaves_docker_to_provision() -> None:
    text = (ROOT / "Vagrantfile").read_text()
    steps = re.findall(r'config\.vm\.provision "[\w-]+", type: "shell", inline: (\w+)', text)
    assert steps == ["AUTHORIZE", "MACHINE_ID"]
