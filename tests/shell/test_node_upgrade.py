"""Docker upgraded on a node: what is asked of apt, which version is taken, and who is asked whether all is well."""

from __future__ import annotations

import subprocess

import pytest
from node_shell import SHELLS, Shell

from provision.facts.answer import decoded
from provision.node import functions

PARTS = "\n".join(map(functions, ("packages", "upgrade_facts", "upgrade", "start_errors", "gate")))

#: Programs of a host with Docker 26 from a package, whose apt knows other versions.
PROGRAMS = {
    "apt-cache": """case $* in
'madison docker.io') for one in 5:28.50.1-1 5:28.5.2-1 26.1.5-1; do echo "docker.io | $one | file:/x"; done ;;
'madison docker-cli') for one in 5:28.5.2-1 26.1.5-1; do echo "docker-cli | $one | file:/x"; done ;;
esac""",
    "apt-get": """case $* in *--simulate*) printf 'Inst docker.io [1] (2)\\nInst tini-static (2)\\n' ;; esac""",
    "apt-mark": 'grep -x "$2" held 2>/dev/null',
    "dockerd": "echo Docker version 28.5.2, build 1",
    "dpkg-query": """case $* in
*-S*) echo 'docker.io: /usr/sbin/dockerd' ;;
*tini-static) exit 1 ;;
*Status-Abbrev*) echo 'ii ' ;;
*) echo 'status install ok installed' ;;
esac""",
    "systemctl": "echo systemctl $* >>calls; [ $1 != show ]",
    "systemd-run": 'while [ "$1" != sh ]; do shift; done; shift; echo upgrade: "$@" >>calls; exit ${failure:-0}',
    "journalctl": "echo E: no space left",
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(request.param, tmp_path_factory.mktemp("shell"))
    (shell.folder / "bin").mkdir()
    for name, text in PROGRAMS.items():
        with_program(shell, name, text)
    (shell.folder / "state").mkdir()
    return shell


def with_program(shell: Shell, name: str, text: str) -> None:
    program = shell.folder / "bin" / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def tried(shell: Shell, script: str) -> subprocess.CompletedProcess[str]:
    return shell.try_to(f"{PARTS}\nPATH=$PWD/bin:$PATH\nexport failure\n{script}")


def calls(shell: Shell) -> list[str]:
    return (shell.folder / "calls").read_text().splitlines()


def package(shell: Shell) -> list[str]:
    """What the node tells of its package."""
    done = tried(shell, "fact_docker_package docker.io")
    assert (done.returncode, done.stderr) == (0, "")
    return decoded(done.stdout.strip().split("\t")[2]).splitlines()


def test_263_the_package_is_told_with_what_apt_knows(shell: Shell) -> None:
    offered = ["offered 5:28.50.1-1", "offered 5:28.5.2-1", "offered 26.1.5-1"]
    assert package(shell) == ["package docker.io", "status install ok installed", "held ", *offered]
    (shell.folder / "held").write_text("docker.io\n")
    assert "held user" in package(shell)
    (shell.folder / "state/record").write_text("hold\tpackage docker.io\t-\n")
    assert "held ours" in package(shell)


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        ("28.5", " docker.io=5:28.5.2-1 docker-cli=5:28.5.2-1"),
        ("28", " docker.io=5:28.50.1-1"),
        ("26.1.5", " docker.io=26.1.5-1 docker-cli=26.1.5-1"),
        ("29", ""),  # it is there, and its upgrade was interrupted: apt has other versions only
    ],
)
def test_258_the_latest_version_is_installed_with_its_client(shell: Shell, beginning: str, words: str) -> None:
    done = tried(shell, f"upgrade_package docker.io {beginning} 60")
    assert (done.returncode, done.stderr) == (0, "")
    assert calls(shell)[0] == f"upgrade:  dpkg{words}"
    assert "systemctl start docker.service" in calls(shell)
    assert not (shell.folder / "state/docker").exists()


@pytest.mark.parametrize(("automatic", "words"), [("tini\n", " tini-"), ("", "")])
def test_258_a_package_that_gives_way_to_another_is_removed_if_nobody_asked_for_it(
    shell: Shell, automatic: str, words: str
) -> None:
    (shell.folder / "automatic").write_text(automatic)
    with_program(shell, "apt-mark", 'file=held; [ $1 != showauto ] || file=automatic; grep -x "$2" $file 2>/dev/null')
    with_program(shell, "apt-get", "case $* in *--simulate*) printf 'Remv tini [1]\\nInst tini-static (2)\\n' ;; esac")
    tried(shell, "upgrade_package docker.io 28.5 60")
    assert calls(shell)[0] == f"upgrade:  dpkg docker.io=5:28.5.2-1 docker-cli=5:28.5.2-1{words}"


def test_258_what_an_upgrade_adds_to_a_docker_of_ours_is_recorded(shell: Shell) -> None:
    record = shell.folder / "state/docker/record"
    record.parent.mkdir()
    record.write_text("docker\tDocker\tpackage\n")
    tried(shell, "upgrade_package docker.io 28.5 60")
    assert record.read_text() == "docker\tDocker\tpackage\npackage\tpackage tini-static\tun\n"


def test_263_a_hold_of_ours_is_taken_off_for_the_upgrade(shell: Shell) -> None:
    (shell.folder / "held").write_text("docker.io\n")
    (shell.folder / "state/record").write_text("hold\tpackage docker.io\t-\n")
    tried(shell, "upgrade_package docker.io 28.5 60")
    assert calls(shell)[0] == "upgrade: docker.io  dpkg docker.io=5:28.5.2-1 docker-cli=5:28.5.2-1"


def test_263_a_hold_of_ours_stays_where_no_package_is_installed(shell: Shell) -> None:
    (shell.folder / "held").write_text("docker.io\n")
    (shell.folder / "state/record").write_text("hold\tpackage docker.io\t-\n")
    tried(shell, "upgrade_package docker.io 29 60")
    assert calls(shell)[0] == "upgrade:  dpkg"


def test_260_a_package_that_is_not_whole_afterwards_is_named(shell: Shell) -> None:
    with_program(shell, "dpkg-query", "echo install reinstreq half-installed")
    done = tried(shell, "set -e\nupgrade_package docker.io 29 60")
    assert (done.returncode, done.stderr) == (
        1,
        "the package docker.io is not wholly installed (install reinstreq half-installed): "
        "apt-get install --reinstall docker.io\n",
    )


def of_unit(shell: Shell, words: str, ending: str = "") -> list[str]:
    """What the unit does with these words."""
    for name in ("apt-get", "dpkg"):
        with_program(shell, name, f"echo {name} $* >>calls")
    with_program(shell, "systemctl", f"echo systemctl $* >>calls; case $1 in stop) {ending or ':'} ;; esac")
    tried(shell, f'/bin/sh -c "$upgrade_unit" sh {words}')  # as systemd does
    return [
        " ".join(word for word in call.split() if not word.startswith("-o") and "::" not in word)
        for call in calls(shell)
    ]


def test_258_docker_is_started_again_whatever_becomes_of_the_packages(shell: Shell) -> None:
    install = "apt-get -q -y --no-install-recommends --no-remove install"
    stop, start = "systemctl stop docker.socket docker.service", "systemctl start docker.service"
    assert of_unit(shell, "'' dpkg docker.io=1") == [
        "dpkg --configure -a",
        f"{install} --download-only docker.io=1",
        stop,
        f"{install} docker.io=1",
        "systemctl reset-failed docker.service",
        start,
    ]


def test_258_a_package_is_removed_only_where_that_was_asked_for(shell: Shell) -> None:
    install = "apt-get -q -y --no-install-recommends install"
    assert f"{install} docker.io=1 tini-" in of_unit(shell, "'' dpkg docker.io=1 tini-")


def test_260_a_release_of_ours_is_restarted_even_if_that_is_interrupted(shell: Shell) -> None:
    stop, start = "systemctl stop docker.socket docker.service", "systemctl start docker.service"
    assert of_unit(shell, "'' ''", "kill -TERM $PPID") == [stop, "systemctl reset-failed docker.service", start]


def test_260_a_release_of_ours_is_restarted_by_the_unit(shell: Shell) -> None:
    done = tried(shell, "put_docker() { echo put $* >>calls; }\nset -e\nupgrade_static a.tgz 0 28.5.2")
    assert (done.returncode, done.stderr) == (0, "")
    told = [call for call in calls(shell) if not call.startswith(("systemctl is-", "systemctl list"))]
    assert told[:2] == ["put a.tgz 0 28.5.2", "upgrade:  "]
    assert "systemctl stop docker.socket docker.service" not in told
    assert "systemctl start docker.service" in told


def test_258_a_package_that_cannot_be_installed_is_told_with_apts_words(shell: Shell) -> None:
    done = tried(shell, "failure=100\nupgrade_package docker.io 28.5 60")
    assert done.returncode == 1
    assert done.stderr == (
        "Docker 28.5 was not installed. The journal of overlay-upgrade.service ends:\nE: no space left\n"
    )


def test_259_containers_are_listed_with_what_docker_says_of_them(shell: Shell) -> None:
    errors = {
        "off": "Could not attach to network demo: context deadline exceeded",
        "disk": "error while mounting volume: network is unreachable",
        "door": "driver failed programming external connectivity on endpoint web (network demo): port is taken",
    }
    exited = "".join(rf"/{name}\texited\tno\tdemo,\t\"{error}\"\n" for name, error in errors.items())
    inspected = rf"/web\trunning\talways\tdemo,\t\"\"\n{exited}"
    with_program(shell, "docker", f'case $1 in ps) echo 1 2 ;; inspect) printf "{inspected}" ;; esac')
    assert tried(shell, "list_containers").stdout.splitlines() == [
        "/web\trunning\talways\tdemo,\t\t",
        f'/off\texited\tno\tdemo,\tcut-off\t"{errors["off"]}"',
        f'/disk\texited\tno\tdemo,\t\t"{errors["disk"]}"',
        f'/door\texited\tno\tdemo,\t\t"{errors["door"]}"',
    ]
    with_program(shell, "docker", "exit 1")
    assert tried(shell, "list_containers").returncode == 1


def test_259_containers_that_cannot_be_looked_at_are_not_none(shell: Shell) -> None:
    with_program(shell, "docker", "case $1 in ps) echo 1 ;; inspect) exit 1 ;; esac")
    assert tried(shell, "list_containers").returncode == 1
    # One has vanished between the two questions.
    with_program(
        shell, "docker", "case $1 in ps) echo 1 ;; inspect) [ -s seen ] || { echo >seen; exit 1; }; echo /web ;; esac"
    )
    done = tried(shell, "list_containers")
    assert (done.returncode, done.stdout.split()) == (0, ["/web"])
    with_program(shell, "docker", "")
    assert (tried(shell, "list_containers").returncode, tried(shell, "list_containers").stdout) == (0, "")


def test_259_who_does_not_answer_a_keeper_is_named(shell: Shell) -> None:
    with_program(shell, "docker", 'shift 2; exec "$@"')
    with_program(shell, "ping", '[ "$5" = web ]')
    with_program(shell, "wget", 'case $* in *http://db:9/) echo "cannot connect: Connection refused" ;; esac; exit 1')
    done = tried(shell, "ask_names keeper web db lost")
    assert done.stdout.splitlines() == ["keeper\tlost", "keeper\t."]
    with_program(shell, "docker", "exit 1")
    assert tried(shell, "ask_names keeper web").stdout == ""


def test_260_an_upgrade_that_a_killed_run_has_left_is_waited_for(shell: Shell) -> None:
    unit = shell.folder / "run/systemd/transient/overlay-upgrade.service"
    clock = """date() { cat clock; }
pass() { echo $(($(cat clock) + $1)) >clock.new; mv clock.new clock; }
sleep() { pass 1; [ "$(cat clock)" != 3 ] || rm run/systemd/transient/*; }
timeout() { [ -z "$hung" ] || { pass "$1"; return 124; }; shift; "$@"; }
echo 0 >clock
"""
    asked = f"{clock}OVERLAY_RUN=$PWD/run; await_upgrade 45; echo waited: $waited, $(cat clock) s"
    assert tried(shell, f"hung=\n{asked}").stdout == "waited: , 0 s\n"
    unit.parent.mkdir(parents=True)
    unit.touch()
    with_program(shell, "docker", 'if [ "$(cat clock)" -gt 4 ]; then echo "active "; else echo "pending "; fi')
    assert tried(shell, f"hung=\n{asked}").stdout == "waited: yes, 5 s\n"
    unit.touch()
    with_program(shell, "docker", 'echo "pending "')
    assert tried(shell, f"hung=\n{asked}").stdout == "waited: yes, 45 s\n"
    unit.touch()
    assert tried(shell, f"hung=yes\n{asked}").stdout == "waited: yes, 46 s\n", "each question of a hung one takes 10 s"
