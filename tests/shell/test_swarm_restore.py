"""A node takes up a saved swarm: what it had is kept, the force is made once, and a run that was killed goes on."""

from __future__ import annotations

import io
import subprocess
import tarfile
from base64 import b64encode
from pathlib import Path

import pytest
from node_shell import SHELLS

from provision.node import library
from provision.planes.swarm.node import functions

#: Docker, which leads its swarm from the force on; the two others are of before.
STANDS_IN = """
systemctl() { [ "$1" = show ] && echo "${docker_is-inactive}" || echo "systemctl $*" >>log; }
run_unit() { echo "$1 $2" >>log; }
timeout() { shift; "$@"; }
sleep() { :; }
sync() { :; }
docker() {
    case "$1 $2" in
    'node ls') [ -e led ] && printf 'self\\nother1\\nother2\\n' ;;
    'swarm init') echo "docker $*" >>log && [ -z "${refuses-}" ] && : >led && echo 'SWMTKN-secret' ||
        { echo 'it is refused' >&2; false; } ;;
    'info --format') [ ! -e led ] || echo "${is-self}" ;;
    *) echo "docker $*" >>log && echo 'SWMTKN-secret' ;;
    esac
}
"""
FORCE = (
    "docker swarm init --force-new-cluster --advertise-addr 192.0.2.1:2377 --listen-addr 192.0.2.1:2377 "
    "--data-path-addr 192.0.2.1 --data-path-port 4789"
)
STRUCK_OFF = [
    "docker swarm join-token -q --rotate worker",
    "docker swarm join-token -q --rotate manager",
    "docker node rm --force other1",
    "docker node rm --force other2",
]
HOLD, STOP = "systemctl stop overlay-mend.service", "systemctl stop docker.service docker.socket"
UP = "start docker.service"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    command: tuple[str, ...] = request.param
    return command


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Docker's folder, as a host has it that was never in a swarm; beside it, the folder of our record."""
    (tmp_path / "state").mkdir()
    (tmp_path / "docker" / "swarm").mkdir(parents=True)
    return tmp_path / "docker"


def archive() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name in ("raft", "raft/0.wal", "certificates", "certificates/swarm-node.key"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = (tarfile.REGTYPE, 0o600) if "." in name else (tarfile.DIRTYPE, 0o700)
            tar.addfile(info)
    return made.getvalue()


def done(
    shell: tuple[str, ...], root: Path, words: str, text: bytes | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    encoded = b64encode(archive() if text is None else text).decode()
    needed = library("record", "changes", "reset", "containers", "migrate"), functions("former_swarm")
    parts = *needed, functions("restore"), STANDS_IN
    script = f"{''.join(parts)}\nstate={root.parent}/state\n{before}\n{words} <<'.'\n{encoded}\n.\n"
    (root.parent / "log").unlink(missing_ok=True)
    return subprocess.run(shell, input=script, cwd=root.parent, capture_output=True, text=True, check=False)


def restored(shell: tuple[str, ...], root: Path, text: bytes | None = None, before: str = "") -> list[str]:
    """Restore, and return what was done."""
    ended = done(shell, root, f"restore_swarm {root} 12ab 192.0.2.1 2377 4789 self", text, before)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)
    assert (root.parent / "state" / "restore").read_text() == "12ab forced\n"
    log = root.parent / "log"
    return log.read_text().splitlines() if log.exists() else []


def kept_swarms(root: Path) -> list[Path]:
    return list((root.parent / "state" / "former-swarms").glob("before-restore.*"))


def test_317_a_fresh_host_manages_the_saved_swarm_alone(shell: tuple[str, ...], root: Path) -> None:
    """No token is printed. What is in place is root's alone."""
    assert restored(shell, root) == [STOP, UP, FORCE, *STRUCK_OFF]
    assert {path.name for path in root.iterdir()} == {"swarm"}
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.*")) == [
        *("swarm/certificates/swarm-node.key", "swarm/raft/0.wal")
    ]
    modes = {path.stat().st_mode & 0o777 for path in root.rglob("*")}
    assert modes == {0o700, 0o600}


def test_322_what_there_was_of_a_swarm_is_kept(shell: tuple[str, ...], root: Path) -> None:
    (root / "swarm" / "docker-state.json").write_text("former")
    restored(shell, root)
    (kept,) = kept_swarms(root)
    assert (kept / "docker-state.json").read_text() == "former"
    assert not (root / "swarm" / "docker-state.json").exists()


def test_322_a_node_leaves_its_former_swarm(shell: tuple[str, ...], root: Path) -> None:
    """Twice in a second, too: no folder takes the place of another."""
    for number in range(2):
        (root / "swarm").mkdir(exist_ok=True)
        (root / "swarm" / "state.json").write_text(str(number))
        assert done(shell, root, f"put_former_swarm_aside {root} 12ab").returncode == 0
        assert (root.parent / "log").read_text().splitlines() == [HOLD, STOP, UP]
    assert sorted((path / "state.json").read_text() for path in kept_swarms(root)) == ["0", "1"]
    assert (root.parent / "state" / "restore").read_text() == "12ab aside\n"
    assert not (root / "swarm").exists()
    assert (root.parent / "state" / "containers.held").exists()


def test_322_nothing_is_put_aside_while_docker_does_not_stop(shell: tuple[str, ...], root: Path) -> None:
    (root / "swarm" / "docker-state.json").write_text("former")
    for words in (f"put_former_swarm_aside {root} 12ab", f"restore_swarm {root} 12ab 192.0.2.1 2377 4789 self"):
        ended = done(shell, root, words, before="docker_is=deactivating")
        assert ended.returncode == 1
        assert "docker.service does not stop" in ended.stderr
        assert (root / "swarm" / "docker-state.json").read_text() == "former"
        assert kept_swarms(root) == []


@pytest.mark.parametrize("led", [False, True])
def test_319_what_is_in_place_is_not_put_there_again(shell: tuple[str, ...], root: Path, led: bool) -> None:
    """Killed before or after the force: that is not repeated."""
    (root.parent / "state" / "restore").write_text("12ab placed\n")
    (root / "swarm" / "docker-state.json").write_text("by the force")
    if led:
        (root.parent / "led").touch()
    assert restored(shell, root) == [UP, *([] if led else [FORCE]), *STRUCK_OFF]
    assert (root / "swarm" / "docker-state.json").exists()


def test_342_a_node_that_is_in_another_swarm_by_now_is_not_forced(shell: tuple[str, ...], root: Path) -> None:
    """Its user has let it join one since the run that was killed. No node of that swarm is struck off."""
    (root.parent / "state" / "restore").write_text("12ab placed\n")
    (root.parent / "led").touch()
    ended = done(shell, root, f"restore_swarm {root} 12ab 192.0.2.1 2377 4789 self", before="is=another")
    assert (ended.returncode, (root.parent / "log").read_text().splitlines()) == (1, [UP])
    assert "this node is in another swarm by now" in ended.stderr


def test_319_what_is_done_is_not_done_again(shell: tuple[str, ...], root: Path) -> None:
    (root.parent / "state" / "restore").write_text("12ab forced\n")
    assert restored(shell, root) == []


@pytest.mark.parametrize("stage", ["leaving", "placed", "forced"])
def test_319_a_dockerd_that_was_stopped_starts_again(shell: tuple[str, ...], root: Path, stage: str) -> None:
    """What is in place of the saved swarm stays there."""
    (root.parent / "state" / "restore").write_text(f"12ab {stage}\n")
    (root / "swarm" / "raft").mkdir()
    assert done(shell, root, f"put_former_swarm_aside {root} 12ab").returncode == 0
    log = (root.parent / "log").read_text().splitlines()
    assert log == ([HOLD, STOP, UP] if stage == "leaving" else [UP])
    assert (root / "swarm" / "raft").exists() == (stage != "leaving")


def test_319_another_restore_begins_anew(shell: tuple[str, ...], root: Path) -> None:
    (root.parent / "state" / "restore").write_text("34cd forced\n")
    (root / "swarm" / "docker-state.json").write_text("former")
    assert restored(shell, root) == [STOP, UP, FORCE, *STRUCK_OFF]


def test_321_an_archive_that_cannot_be_unpacked_changes_nothing(shell: tuple[str, ...], root: Path) -> None:
    (root / "swarm" / "docker-state.json").write_text("former")
    ended = done(shell, root, f"restore_swarm {root} 12ab 192.0.2.1 2377 4789 self", archive()[:50])
    assert ended.returncode == 1
    assert f"cannot unpack the saved swarm in {root}" in ended.stderr
    assert (root / "swarm" / "docker-state.json").read_text() == "former"
    assert {path.name for path in root.iterdir()} == {"swarm"}
    assert not (root.parent / "log").exists()


def test_317_a_docker_that_refuses_is_told(shell: tuple[str, ...], root: Path) -> None:
    ended = done(shell, root, f"restore_swarm {root} 12ab 192.0.2.1 2377 4789 self", before="refuses=yes")
    assert (ended.stdout, ended.returncode) == ("", 1)
    assert ended.stderr == "Docker does not take up the saved swarm: it is refused\n"
    assert (root.parent / "log").read_text().splitlines() == [STOP, UP, *[FORCE] * 3]
    assert (root.parent / "state" / "restore").read_text() == "12ab placed\n"
