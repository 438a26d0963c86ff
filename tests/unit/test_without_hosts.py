"""The command line where no host is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fabfile
from provision import inventory

ROOT = Path(__file__).parents[2]


def fab(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run plain Fabric from the checkout, on an inventory of the test's own."""
    command = [str(Path(sys.executable).with_name("fab")), *words, "--inventory", str(folder / "new.yml")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_init_writes_an_inventory_that_loads(tmp_path: Path) -> None:
    done = fab(tmp_path, "init", "--host", "root@192.0.2.1", "--host", "192.0.2.2:2222")
    assert done.returncode == 0, done.stderr
    cluster = inventory.load(tmp_path / "new.yml")
    assert [node.address for node in cluster.nodes] == ["192.0.2.1", "192.0.2.2"]


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "new.yml").write_text("nodes: {}\n")
    command = [str(Path(sys.executable).with_name("fab")), "plan", "--json", "--inventory", str(tmp_path / "new.yml")]
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(command, cwd=ROOT, stdout=written, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(written)
    assert (done.returncode, done.stderr) == (2, "")


def test_init_never_writes_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "new.yml").write_text("precious\n")
    done = fab(tmp_path, "init", "--host", "192.0.2.1", "--host", "192.0.2.2")
    assert done.returncode == 2
    assert (tmp_path / "new.yml").read_text() == "precious\n"


def test_init_without_addresses_says_how(tmp_path: Path) -> None:
    done = fab(tmp_path, "init")
    assert done.returncode == 2
    assert "--host" in done.stderr
    assert not (tmp_path / "new.yml").exists()


def test_after_every_verb_too_the_inventory_is_i() -> None:
    for name, verb in fabfile.namespace.tasks.items():
        flags = {argument.name: argument.names for argument in verb.get_arguments()}
        assert flags["inventory"] == ("inventory", "i"), name


def test_a_checkout_is_compiled_once_unless_python_is_told_otherwise(tmp_path: Path) -> None:
    for name in ("fabfile.py", "provision", "templates"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    bytecode = tmp_path / "provision/__pycache__"
    shutil.rmtree(bytecode, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("fab")), "--list"]
    for said, kept in (("1", False), ("", True)):
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": said}
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=True)
        assert bytecode.exists() == kept
