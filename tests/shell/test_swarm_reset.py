"""A host that leaves its swarm: an attempt that fails while others leave is repeated, and the last error is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from node_shell import SHELLS

from provision.node import library
from provision.planes.swarm.node import functions

#: Docker, which is in a swarm until the attempt with this number; 9 is never.
STANDS_IN = """
systemctl() { :; }
docker_answers() { :; }
sleep() { :; }
timeout() { shift; "$@"; }
die() { echo "died: $*"; exit 1; }
docker() {
    case $1 in
    info) [ -e left ] && echo inactive || echo active ;;
    swarm)
        echo try >>tries
        [ "$(grep -c . tries)" -ge "$leaves" ] || { echo 'context deadline exceeded' >&2; return 1; }
        : >left
        ;;
    esac
}
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    command: tuple[str, ...] = request.param
    return command


@pytest.mark.parametrize(
    ("leaves", "tries", "said"),
    [(1, 1, ""), (3, 3, ""), (9, 3, "died: Docker does not leave the swarm: context deadline exceeded\n")],
)
def test_a_host_tries_three_times_to_leave(
    shell: tuple[str, ...], tmp_path: Path, leaves: int, tries: int, said: str
) -> None:
    reset = functions("reset").replace("/run/overlay-provision.leave", str(tmp_path / "error"))
    (tmp_path / "program").write_text(f"leaves={leaves}\n{STANDS_IN}\n{reset}\nleave_network\n")
    done = subprocess.run([*shell, "program"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (said, "", 1 if said else 0)
    assert len((tmp_path / "tries").read_text().splitlines()) == tries


@pytest.mark.parametrize(
    ("told", "unit_state"),
    [("on its command line", "failed"), ("in its file", "failed"), ("in its file", "deactivating")],
)
def test_268_a_host_whose_docker_does_not_answer_forgets_its_swarm_once_it_has_stopped(
    shell: tuple[str, ...], tmp_path: Path, told: str, unit_state: str
) -> None:
    root = tmp_path / "docker"
    (root / "swarm" / "certificates").mkdir(parents=True)
    flags = f"--config-file={tmp_path}/daemon.json"
    if told == "in its file":
        (tmp_path / "daemon.json").write_text(f'{{"debug": true, "data-root": "{root}"}}')
    else:
        flags += f" --data-root={root}"
    systemd = f"""systemctl() {{ case $1 in
        cat) echo 'ExecStart=/usr/sbin/dockerd {flags}' ;;
        show) echo {unit_state} ;;
    esac; }}"""
    reset = f"{systemd}\n{functions('reset')}"
    (tmp_path / "program").write_text(
        f"{library()}\n{STANDS_IN}\ndocker_answers() {{ false; }}\nstop_dockerd() {{ ls {root} >stopped; }}\n"
        f"{reset}\nleave_network\n"
    )
    done = subprocess.run([*shell, "program"], cwd=tmp_path, capture_output=True, text=True, check=False)
    stopped = unit_state == "failed"
    said = f"died: docker.service does not stop, and nothing of it is removed: its state is {unit_state}\n"
    assert (done.stdout, done.stderr, done.returncode) == ("" if stopped else said, "", 0 if stopped else 1)
    assert [one.name for one in root.iterdir()] == ([] if stopped else ["swarm"])
    assert (tmp_path / "stopped").read_text() == "swarm\n", "it may still run"


def test_350_a_reset_leaves_nothing_of_swarms_that_the_host_was_removed_from(
    shell: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("swarm.left.x", "swarm.copied.y", "containers"):
        (tmp_path / "data" / name).mkdir(parents=True)
    root = "configured_docker_root() { echo $PWD/data; }"
    (tmp_path / "program").write_text(f"{functions('reset')}\n{root}\nend_membership\n")
    done = subprocess.run([*shell, "program"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["containers"]
