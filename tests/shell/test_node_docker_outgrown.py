"""A dockerd without a cluster store: what the programs beside it do, and how its package is held, by dpkg itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mend_program import Program as MendProgram
from node_shell import SHELLS, Shell
from store_program import Program

from provision.facts import parse
from provision.resources import docker_packages


@pytest.fixture(params=SHELLS)
def store_program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> MendProgram:
    return MendProgram(request.param, tmp_path)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return Shell(request.param, tmp_path)


def dockerd(version: str) -> str:
    """A dockerd that tells a version; no stamp is valid."""
    return f"stamped() {{ false; }}\ndockerd() {{ printf '%s' '{version}'; }}\n"


@pytest.mark.parametrize(
    ("said", "noted"),
    [
        ("Docker version 26.1.5+dfsg1, build 411e817\n", "26.1.5"),
        ("Docker version 23.0.0-beta.1, build 1\n", "23.0.0"),
        ("Docker version 22.06.0, build 1\n", ""),
        ("Docker version 20.10.24+dfsg1, build 297e128\n", ""),
        ("no version\n", ""),
        ("", ""),
    ],
)
def test_237_a_dockerd_without_a_cluster_store_is_recognised(store_program: Program, said: str, noted: str) -> None:
    store_program.run(dockerd(said) + "configure\nnote_version")
    note = store_program.folder / "run" / "docker.outgrown"
    assert (note.read_text().strip() if note.exists() else "") == noted


@pytest.mark.parametrize("because", ["docker.whole", "docker.cleaned"])
def test_239_it_starts_without_the_store_whatever_was_there_before(store_program: Program, because: str) -> None:
    store_program.users.write_text('{"live-restore": true}')
    there = f'configure\n: >"$OVERLAY_RUN/{because}"\ntake_turn_soon() {{ :; }}\n'
    with_store = store_program.run(f"{there}{dockerd('Docker version 20.10.24, build 1')}prepare")
    assert "cluster-store" in with_store
    without = store_program.run(f"{there}{dockerd('Docker version 26.1.5, build 1')}prepare")
    assert without == {"live-restore": True}


OUTGROWN = """
configure
echo 26.1.5 >"$outgrown"
systemctl() { echo asked >>"$OVERLAY_RUN/did"; }
store() { echo asked >>"$OVERLAY_RUN/did"; }
docker() { echo asked >>"$OVERLAY_RUN/did"; }
"""


def test_237_the_unit_that_joins_says_so_once_and_asks_nobody(store_program: Program) -> None:
    found = store_program.run(f'{OUTGROWN}join >"$OVERLAY_RUN/said"')
    assert found == {}
    run = store_program.folder / "run"
    (line,) = (run / "said").read_text().splitlines()
    assert "Docker 26.1.5 has no cluster store" in line
    assert "fab migrate --plan" in line
    assert not (run / "did").exists()
    assert not (run / "docker.joined").exists()


def test_237_the_unit_that_mends_says_so_once_and_waits(mend: MendProgram) -> None:
    script = 'tries=0\nsleep() { tries=$((tries + 1)); [ "$tries" -lt 5 ] || exit 0; }\nmkdir -p "$run"\n'
    printed = mend.run(script + OUTGROWN.replace("configure\n", "").replace("/did", "/asked") + "watch")
    assert [line for line in printed if "Docker 26.1.5 has no cluster store" in line] == printed
    assert len(printed) == 1
    assert not (mend.folder / "asked").exists()


def test_240_the_unit_that_mends_goes_on_when_the_older_docker_is_back(mend: MendProgram) -> None:
    back = 'sleep() { rm -f "$outgrown"; : >"$joined"; }\nput_names_back() { echo goes on; exit 0; }\n'
    assert mend.run(f'mkdir -p "$run"\necho 26.1.5 >"$outgrown"\n{back}watch')[1:] == ["goes on"]


def test_237_a_dockerd_that_is_too_new_since_its_restart_is_asked_no_more(mend: MendProgram) -> None:
    """The unit was at work with the dockerd before it; it ends, and systemd starts it anew."""
    stands_in = """
mkdir -p "$run"
: >"$joined"
put_names_back() { :; }
follow() { exec sleep 60 >/dev/null 2>&1; }
read_store() { echo asked; }
look() { echo asked; }
drop_useless() { :; }
nap() { [ ! -e "$outgrown" ] && echo 26.1.5 >"$outgrown" || exit 1; }
watch
kill "$follower"
"""
    assert mend.run(stands_in) == ["asked"]


def test_240_the_note_is_gone_with_the_newer_docker(store_program: Program) -> None:
    new, old = (dockerd(f"Docker version {version}, build 1") for version in ("28.5.2", "20.10.24"))
    store_program.run(f"{new}prepare\n{old}prepare")
    assert not (store_program.folder / "run" / "docker.outgrown").exists()


STATUS = """\
Package: docker.io
Status: install ok installed
Priority: optional
Section: admin
Maintainer: Nobody <nobody@example.org>
Architecture: amd64
Version: 20.10.24
Description: sample

Package: docker-doc
Status: install ok installed
Maintainer: Nobody <nobody@example.org>
Architecture: all
Version: 20.10.24
Description: sample

Package: docker-cli
Essential: no
Status: hold ok installed
Maintainer: Nobody <nobody@example.org>
Architecture: amd64
Version: 20.10.24
Description: sample
"""


@pytest.fixture
def dpkg(shell: Shell) -> Path:
    """A database of dpkg's, in which packages of Docker are installed."""
    if not shutil.which("dpkg"):
        pytest.skip("needs dpkg")
    folder = shell.folder / "dpkg"
    (folder / "info").mkdir(parents=True)
    (folder / "updates").mkdir()
    (folder / "info" / "format").write_text("1\n")
    (folder / "status").write_text(STATUS)
    for name, path in {"docker.io": "sbin/dockerd", "docker-cli": "bin/docker", "docker-doc": "share/dockerd"}.items():
        (folder / "info" / f"{name}.list").write_text(f"/.\n/usr\n/usr/{path}\n")
    return folder


def at(dpkg: Path) -> str:
    """Debian's dpkg with this database; busybox has a program of that name which holds nothing."""
    return f'dpkg() {{ {shutil.which("dpkg")} --admindir={dpkg} "$@"; }}\n'


def asked(shell: Shell, dpkg: Path, program: str = "/usr/sbin/dockerd") -> dict[str, str]:
    at = f'command() {{ echo {program}; }}\nOVERLAY_DPKG="{dpkg}"\n'
    return dict(docker_packages(parse(shell.run(f"{at}fact_docker_packages"))))


def test_241_the_packages_of_dockerd_and_its_client_are_found_and_whether_they_are_held(
    shell: Shell, dpkg: Path
) -> None:
    assert asked(shell, dpkg) == {"docker.io": "install", "docker-cli": "hold"}


@pytest.mark.parametrize("program", ["/usr/local/bin/dockerd", "/opt/docker/dockerd"])
def test_242_a_docker_from_no_package_has_none(shell: Shell, dpkg: Path, program: str) -> None:
    assert asked(shell, dpkg, program) == {}


def test_242_a_host_without_dpkg_has_none(shell: Shell) -> None:
    assert asked(shell, shell.folder / "none") == {}


def test_241_dpkg_holds_the_package_and_a_reset_releases_it_and_no_other(shell: Shell, dpkg: Path) -> None:
    shell.run(f"{at(dpkg)}remember_hold docker.io\nselect_package docker.io hold")
    assert asked(shell, dpkg) == {"docker.io": "hold", "docker-cli": "hold"}
    shell.run(f"{at(dpkg)}put_back '.*'")
    assert asked(shell, dpkg) == {"docker.io": "install", "docker-cli": "hold"}


def test_242_a_package_that_is_gone_by_now_is_nothing_to_release(shell: Shell, dpkg: Path) -> None:
    shell.run(f"{at(dpkg)}remember_hold docker.io\nselect_package docker.io hold")
    (dpkg / "status").write_text(STATUS.replace("docker.io", "another"))
    shell.run(f"{at(dpkg)}put_back '.*'")
    assert "hold" not in (dpkg / "status").read_text().split("docker-cli")[0]
