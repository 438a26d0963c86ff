"""A member that becomes the whole store: the order of the steps, the copy of its data, and what is there already."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from node_shell import SHELLS, Shell

from provision import layout
from provision.planes.etcd.node import functions
from provision.planes.etcd.resources import restart_docker

#: systemd, and etcd. A unit runs from its start until it is killed. `answers`: etcd acknowledges writes.
STANDS_IN = """
calls=$PWD/calls units=$PWD/units
mkdir -p "$units"
systemctl() {
    case $1 in
    is-active) if [ -e "$units/$2" ]; then echo active; else echo failed; return 3; fi ;;
    kill) [ -e "$units/$4" ] || return 1; rm "$units/$4"; echo "kill $4" >>"$calls" ;;
    start) : >"$units/$2"; echo "start $2" >>"$calls" ;;
    stop) [ -e "$units/$3" ] ;;
    reset-failed) return 1 ;;
    esac
}
systemd_run() { : >"$units/overlay-recovery.service"; echo 'force' >>"$calls"; }
own_keys() { [ "$1" = rm ] || echo write >>"$calls"; [ "$answers" = yes ]; }
last_words() { echo "words of $1"; }
df() { printf 'Filesystem\\nx 1 1 %s\\n' "$room"; }
date() { echo >>"$units.time"; echo "$(($(wc -l <"$units.time") * 20))"; }
sleep() { :; }
cp() { echo copy >>"$calls"; command cp "$@"; }
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    found = Shell(request.param, tmp_path_factory.mktemp("shell"))
    (found.folder / "etcd/data").mkdir(parents=True)
    (found.folder / "etcd/data/wal").write_text("old")
    return found


def forced(shell: Shell, **state: str) -> tuple[int, str, list[str]]:
    """Return the exit code, the complaint and the calls. By default etcd runs, answers, and has room."""
    state = {"answers": "yes", "room": "9999999", "running": "etcd.service"} | state
    words = "\n".join(f"{name}='{value}'" for name, value in state.items())
    recover = functions("recover").replace("systemd-run", "systemd_run")
    script = (
        f"OVERLAY_STORED=$PWD/etcd\n{recover}\n{words}\n{STANDS_IN}\nfor unit in $running; do : >$units/$unit; done"
    )
    (shell.folder / "calls").write_text("")
    done = shell.try_to(f"set -e\n{script}\nforce_member before")
    return done.returncode, done.stderr, (shell.folder / "calls").read_text().splitlines()


WHOLE = ["force", "write", "kill overlay-recovery.service", "start etcd.service", "write"]


def test_270_etcd_is_killed_its_data_copied_and_it_is_forced_before_its_unit_starts(shell: Shell) -> None:
    assert forced(shell) == (0, "", ["kill etcd.service", "copy", *WHOLE])
    assert (shell.folder / "etcd/before/wal").read_text() == "old"


def test_276_one_that_was_left_is_ended_and_a_copy_that_is_whole_stays(shell: Shell) -> None:
    (shell.folder / "etcd/before").mkdir()
    (shell.folder / "etcd/before.new").mkdir()
    code, _, calls = forced(shell, running="overlay-recovery.service")
    assert (code, calls) == (0, ["kill overlay-recovery.service", *WHOLE])
    assert not (shell.folder / "etcd/before/wal").exists()


def test_276_half_a_copy_is_made_anew(shell: Shell) -> None:
    (shell.folder / "etcd/before.new").mkdir()
    assert forced(shell)[0] == 0
    assert sorted(path.name for path in (shell.folder / "etcd").iterdir()) == ["before", "data"]


def test_270_without_room_for_a_copy_nothing_is_forced(shell: Shell) -> None:
    code, complaint, calls = forced(shell, room="100")
    assert (code, calls) == (1, [])
    assert "no room for a copy of etcd's data" in complaint


def test_270_a_member_that_acknowledges_nothing_is_told_with_its_last_words(shell: Shell) -> None:
    code, complaint, _ = forced(shell, answers="no")
    assert (code, "words of overlay-recovery.service" in complaint) == (1, True)


def test_283_another_members_data_go_to_the_folder_that_the_plan_names(shell: Shell) -> None:
    ours = (
        (functions("changes") + functions("recover")).replace("/var/lib/etcd", "$PWD/etcd").replace("/etc/etcd", "$PWD")
    )
    (shell.folder / "bootstrap.env").write_text("")
    aside = "put_member_aside removed-ab12"
    shell.try_to(
        f"set -e\n{ours}\n{STANDS_IN}\nstop_unit() {{ :; }}; sync_path() {{ :; }}\n{aside} && {aside}"
    ).check_returncode()
    assert (shell.folder / "etcd/removed-ab12/wal").read_text() == "old"
    assert not (shell.folder / "etcd/data").exists()
    assert not (shell.folder / "bootstrap.env").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_343_a_dockerd_on_the_store_is_to_restart_and_stays_ours(shell: tuple[str, ...], tmp_path: Path) -> None:
    """One of its inputs is forgotten, where it is on the store; all others are known as before."""
    started = tmp_path / "docker.service.inputs"
    for joined, left in ((False, 2), (True, 1)):
        started.write_text(f"aa  {layout.DOCKER_DROP_IN}\nbb  {layout.DOCKER_HARDENING}\n")
        if joined:
            (tmp_path / "docker.joined").touch()
        script = "\n".join(restart_docker(True)).replace("/run/overlay-provision", str(tmp_path))
        subprocess.run([*shell, "-ec", script], check=True)
        assert len(started.read_text().splitlines()) == left
    assert restart_docker(False) == ()
