"""dockerd put back as it was before us, where it does not answer, does not start, or is there no more."""

from __future__ import annotations

import pytest
from node_shell import SHELLS, Shell

from provision.planes.etcd.node import functions

#: systemd and Docker. `answers`: dockerd answers; `starts`: it does after a restart; `ends`: it ends when told to.
STANDS_IN = """
calls=$PWD/calls; : >"$calls"
timeout() { shift; "$@"; }
command() { [ "$2" != dockerd ] && [ "$2" != docker ] || [ "$installed" = yes ]; }
journalctl() { echo 'unable to configure the Docker daemon'; }
leave_network() { :; }
systemctl() {
    case "$*" in
    '-q is-active docker.service') [ "$answers" = yes ] ;;
    'is-active docker.service') echo failed; return 3 ;;
    cat*) [ "$installed" = yes ] ;;
    'restart docker.service') echo restart >>"$calls"; answers=$starts; [ "$starts" = yes ] ;;
    stop*) echo stop >>"$calls"; answers=no; [ "$ends" = yes ] ;;
    kill*) echo kill >>"$calls"; ends=yes ;;
    esac
}
docker() {
    case "$*" in
    version) [ "$answers" = yes ] ;;
    'ps -aq -f label=overlay-keeper') echo keeper ;;
    'rm -f keeper') echo keeper >>"$calls" ;;
    esac
}
xargs() { read -r one && docker rm -f "$one"; }
remember unit docker.service 'enabled active'
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(request.param, tmp_path_factory.mktemp("shell"))


def put_back(shell: Shell, **state: str) -> tuple[str, list[str]]:
    """Return what put_back_docker says, and what it does. By default all is well."""
    state = {"installed": "yes", "answers": "yes", "starts": "yes", "ends": "yes"} | state
    words = "\n".join(f"{name}={value}" for name, value in state.items())
    done = shell.try_to(f"{words}\n{STANDS_IN}\nput_back_docker 2>/dev/null\n")
    assert done.returncode == 0, done.stderr
    return done.stdout, (shell.folder / "calls").read_text().split()


def test_355_a_node_that_is_no_member_any_more_keeps_the_data_of_a_former_store(shell: Shell) -> None:
    before = """
    OVERLAY_STORED=$PWD/etcd; mkdir -p etcd/data etcd/removed-1 etcd/before-recovery-2
    end_membership() { rm -r "$OVERLAY_STORED/data"; }; put_back() { rm -r "$OVERLAY_STORED"; }; systemctl() { :; }
    """
    done = shell.try_to(f'{before}\nput_store_away; ls "$state/former-stores"; ls etcd 2>/dev/null || echo gone')
    assert done.stdout.split() == ["before-recovery-2", "removed-1", "gone"], done.stderr
    done = shell.try_to(f"{before}\nmv() {{ return 1; }}; put_store_away; ls etcd")
    assert done.returncode == 1
    assert (shell.folder / "etcd/removed-1").is_dir()
    assert (shell.folder / "etcd/data").is_dir()


def test_a_dockerd_that_answers_is_restarted_as_it_was(shell: Shell) -> None:
    assert put_back(shell) == ("", ["restart", "keeper"])


def test_176_a_dockerd_that_does_not_answer_is_stopped_first(shell: Shell) -> None:
    assert put_back(shell, answers="no") == ("", ["stop", "restart", "keeper"])
    assert put_back(shell, answers="no", ends="no") == ("", ["stop", "kill", "stop", "restart", "keeper"])


def test_177_a_dockerd_that_does_not_start_is_told_with_its_last_words(shell: Shell) -> None:
    told, calls = put_back(shell, starts="no")
    assert told == (
        "Docker, configured as before us, does not answer (docker.service is failed): "
        "unable to configure the Docker daemon\n"
    )
    assert calls == ["restart"]


def test_178_a_docker_that_was_removed_is_nothing_to_put_back(shell: Shell) -> None:
    assert put_back(shell, installed="no", answers="no") == ("", ["stop"])


def test_212_a_systemd_that_does_not_answer_has_not_said_that_no_container_is_on_a_network(shell: Shell) -> None:
    asked = 'docker() { [ "$1" != network ] || echo listed >&3; }\nleave_overlays 3>&1\necho went on'

    def said(systemd: str) -> tuple[int, str, str]:
        done = shell.try_to(f'timeout() {{ shift; "$@"; }}\nsystemctl() {{ {systemd}; }}\n{asked}')
        return done.returncode, done.stdout, done.stderr

    assert said("return 1") == (1, "", "systemd does not answer for docker.service\n")
    assert said("echo ActiveState=inactive") == (0, "went on\n", "")
    assert said("echo ActiveState=active") == (0, "listed\nwent on\n", "")


@pytest.mark.parametrize("step", ["end_membership", "set_data_aside"])
@pytest.mark.parametrize(
    ("answer", "state"),
    [("echo failed", ""), ("echo deactivating", "deactivating"), ("return 1", "unknown")],
    ids=["stopped", "stopping", "silent"],
)
def test_268_data_of_a_unit_that_does_not_stop_is_left_alone(shell: Shell, step: str, answer: str, state: str) -> None:
    data = shell.folder / "data"
    data.mkdir()
    body = functions("reset" if step == "end_membership" else "changes").replace("/var/lib/etcd", str(shell.folder))
    done = shell.try_to(f"""
        remember unit etcd.service 'enabled active'
        timeout() {{ shift; "$@"; }}
        systemctl() {{
            case $1 in
            stop) echo 'Job for etcd.service canceled.' >&2; return 1 ;;
            show) {answer} ;;
            esac
        }}
        sync_path() {{ :; }}
        {body}
        {step}
    """)
    said = "etcd.service does not stop, and nothing of it is removed: its state is {}; Job for etcd.service canceled.\n"
    assert (done.returncode, done.stderr) == ((1, said.format(state)) if state else (0, ""))
    assert data.exists() == bool(state)
