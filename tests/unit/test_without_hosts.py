"""The command line where no host is asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
INVENTORIES = {
    "a.yml": "nodes: {}\n",
    "b.YAML": "nodes: {}\n",
    "hosts.ini": "[a]\nb\n",
    "id": KEY,
    "id.pub": "ssh-rsa A\n",
}


def refused(folder: Path, *words: str) -> str:
    """The message of a command line that is a mistake of usage."""
    for name, text in INVENTORIES.items():
        (folder / name).write_text(text)
    command = [str(Path(sys.executable).with_name("fab")), "-r", str(ROOT), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize("name", ["hosts.ini", "id.pub", "none", ".", "", "/dev/null"])
def test_162_what_is_neither_an_inventory_nor_a_private_key_is_refused(tmp_path: Path, name: str) -> None:
    message = refused(tmp_path, "-i", name, "reset", "--yes")
    assert f"-i {name or '.'}: " in message
    assert "fab -i FILE.yml VERB" in message


@pytest.mark.parametrize(
    "words",
    [
        ("-i", "a.yml", "-i", "b.YAML", "reset", "--yes"),
        ("-i", "a.yml", "reset", "--yes", "--inventory", "b.YAML"),
        ("reset", "--yes", "-i", "a.yml", "--inventory", "b.YAML"),
    ],
)
def test_163_two_inventories_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "one inventory in a run, not 2: a.yml, b.YAML" in refused(tmp_path, *words)


def test_163_hosts_beside_the_inventory_are_refused(tmp_path: Path) -> None:
    assert "the inventory names the hosts" in refused(tmp_path, "-H", "node1", "-i", "a.yml", "reset", "--yes")


def test_162_163_an_inventory_with_a_key_or_named_twice_is_read(tmp_path: Path) -> None:
    for words in (("-i", "a.yml", "-i", "id"), ("-i", "a.yml", "-i", "./a.yml")):
        assert "a.yml:1: " in refused(tmp_path, *words, "plan")
    assert "b.YAML:1: " in refused(tmp_path, "-i", "b.YAML", "plan", "-i", "b.YAML")


@pytest.mark.parametrize("flag", ["--only", "--inventory"])
def test_163_a_flag_without_its_value_is_not_as_if_it_were_not_there(tmp_path: Path, flag: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("fab")), "-r", str(ROOT), "reset", "--yes", flag],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1  # Fabric's own
    assert "needed value" in done.stderr


@pytest.mark.parametrize("number", ["x", "0", "-5", "1.5", "", "9" * 400, "\N{ARABIC-INDIC DIGIT FIVE}"])
@pytest.mark.parametrize("words", [("run", "a.yml", "--timeout={}"), ("lab.up", "--name=../x", "--nodes={}")])
def test_166_a_number_that_is_none_is_a_mistake_of_usage(tmp_path: Path, words: tuple[str, ...], number: str) -> None:
    message = refused(tmp_path, *(word.format(number) for word in words))
    assert "is not a number of" in message
    assert "write a number from 1 to" in message


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


def test_216_two_verbs_on_one_line_are_refused_before_the_first(tmp_path: Path) -> None:
    message = refused(tmp_path, "trust", "--inventory", "new.yml", "provision", "--yes")
    assert "command line: there is one verb in a run, not 2: trust, provision" in message
    assert "run them one after another, each with its own -i and flags" in message
    command = [str(Path(sys.executable).with_name("fab")), "-r", str(ROOT), "reset", "provision", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["problems"][0]["where"] == "command line"
