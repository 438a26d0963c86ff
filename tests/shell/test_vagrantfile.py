"""The test bed's Vagrantfile, judged by Vagrant itself, with each provider's own settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from provision import inventory

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    shutil.which("vagrant") is None,
    reason="needs the packages vagrant and vagrant-libvirt; script/test installs them",
)

# VirtualBox is not in Debian; to judge its settings, Vagrant wants no more of it than its version.
VERSION_OF_VIRTUALBOX = "#!/bin/sh\necho 7.0.20r163906\n"


@pytest.fixture
def bed(tmp_path: Path) -> Path:
    """A folder with nothing but the Vagrantfile: what it makes beside itself stays out of the checkout."""
    shutil.copy(ROOT / "Vagrantfile", tmp_path)
    manage = tmp_path / "bin/VBoxManage"
    manage.parent.mkdir()
    manage.write_text(VERSION_OF_VIRTUALBOX)
    manage.chmod(0o755)
    return tmp_path


def validate(bed: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{bed / 'bin'}:{os.environ['PATH']}"
    inherited = {**os.environ, "PATH": path, "VAGRANT_HOME": str(bed / "home"), **environment}
    command = ["vagrant", "validate", *options]
    return subprocess.run(command, cwd=bed, env=inherited, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_it_is_valid(bed: Path, provider: str) -> None:
    done = validate(bed, VAGRANT_DEFAULT_PROVIDER=provider, OVERLAY_BOX="somebody/else")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_a_wrong_setting_of_a_provider_would_be_seen(bed: Path, provider: str) -> None:
    file = bed / "Vagrantfile"
    file.write_text(file.read_text().replace("provider.cpus = 1", "provider.processors = 1"))
    assert validate(bed, VAGRANT_DEFAULT_PROVIDER=provider).returncode != 0


def test_it_makes_the_key_once_and_closed(bed: Path) -> None:
    key = bed / ".vagrant/overlay_key"
    validate(bed, "--ignore-provider")
    first = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    validate(bed, "--ignore-provider")
    assert key.read_bytes() == first


def test_its_machines_are_those_of_the_sample_inventory() -> None:
    machines = dict(re.findall(r'"(node\d)" => "([\d.]+)"', (ROOT / "Vagrantfile").read_text()))
    sample = (ROOT / "inventory.yml").read_text()
    assert machines == {node.name: node.address for node in inventory.load(ROOT / "inventory.yml").nodes}
    assert ".vagrant/overlay_key" in sample
