"""The wheel stands alone: unpacked somewhere, used from somewhere else, it finds its templates and its verbs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The builder is one of the test requirements: nothing is fetched.
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, folder, ROOT], check=True, stdin=subprocess.DEVNULL, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, elsewhere: Path, code: str) -> str:
    """Run code that sees the wheel before the checkout; return what it prints."""
    start = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
    command = [sys.executable, "-c", start + code]
    return subprocess.run(command, cwd=elsewhere, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_template_is_rendered_from_it(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import provision.templates as templates\n"
        "print(templates.__file__)\n"
        "values = {'endpoints': ('192.0.2.1:2379',), 'advertise': '', 'turns': False, 'config': ''}\n"
        "print(templates.render('etcd/store.env.j2', **values).decode())\n"
    )
    file, *text = run(unpacked, tmp_path, code).splitlines()
    assert Path(file).is_relative_to(unpacked)
    assert "OVERLAY_STORE=etcd://192.0.2.1:2379" in text


def test_the_checksums_of_releases_are_read_from_it(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import provision.inventory.releases as releases\n"
        "print(releases.TABLE)\n"
        "print(*sorted(releases.known()['3.5.30']))\n"
    )
    file, text = run(unpacked, tmp_path, code).splitlines()
    assert Path(file).is_relative_to(unpacked)
    assert text == "amd64 arm64"


def test_it_holds_every_file_that_is_no_module(unpacked: Path) -> None:
    files = [
        path
        for folder in ("examples", "provision", "templates")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    wanted = {path.name for path in files if path.suffix not in (".py", ".pyc")}
    assert wanted <= {path.name for path in unpacked.rglob("*")}
    assert {"Dockerfile", "library.sh", "schema.json", "etcd.service.j2"} <= wanted


def test_the_command_line_comes_with_it(unpacked: Path, tmp_path: Path) -> None:
    seen = run(unpacked, tmp_path, "import fabfile; print(fabfile.__file__); print(*fabfile.namespace.task_names)")
    file, verbs = seen.splitlines()
    assert Path(file).is_relative_to(unpacked)
    assert {"plan", "provision", "verify"} <= set(verbs.split())


def test_a_verb_runs_from_it(unpacked: Path, tmp_path: Path) -> None:
    words = ["overlay-provision", "init", "--host", "192.0.2.1", "--host", "192.0.2.2"]
    said = run(unpacked, tmp_path, f"sys.argv = {words}; import fabfile; fabfile.main()")
    assert said.startswith("inventory.yml written")
    assert (tmp_path / "inventory.yml").exists()
