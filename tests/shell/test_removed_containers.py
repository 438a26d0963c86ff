"""Containers that Docker lists after it has removed them: they have no name, and nothing is asked of them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from mend_program import ID, NETWORK
from mend_program import Program as Mend
from node_shell import SHELLS, Shell
from swarm_mend_program import Program as SwarmMend

from provision.node import functions

#: A Docker that lists `gone`, which it has removed, before `web`. It knows only `web`.
DOCKER = r"""
timeout() { shift; "$@"; }
docker() {
    case $1,$* in
    ps,*'{{if .Names}}container'*) printf '\ncontainer\tweb\t\n' ;;
    ps,*container*) printf 'container\t\t\ncontainer\tweb\t\n' ;;
    ps,*name=*) ;;
    ps,*'{{if .Names}}'*) printf '\nweb\n' ;;
    ps,*) printf 'gone\nweb\n' ;;
    inspect,*gone*) echo 'No such object: gone' >&2; return 1 ;;
    inspect,*) printf 'web\trunning\talways\tdemo,\t""\n' ;;
    network,*ls*) echo demo ;;
    network,*gone*) echo 'No such container: gone' >&2; return 1 ;;
    container,*lost) return 1 ;;
    exec,*) [ "$2" = web ] ;;
    esac
}
systemctl() { echo ActiveState=active; }
docker_answers() { :; }
sleep() { :; }
"""


@pytest.fixture(params=SHELLS)
def command(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


def said(command: tuple[str, ...], folder: Path, script: str, *names: str) -> str:
    """Return what a script says after the functions of these files."""
    parts = "\n".join(map(functions, names))
    return Shell(command, folder).run(f"{parts}\n{DOCKER}\n{script}")


def test_330_containers_are_well_though_a_removed_one_is_listed(command: tuple[str, ...], tmp_path: Path) -> None:
    listed = said(command, tmp_path, "list_containers", "start_errors", "gate")
    assert listed == "web\trunning\talways\tdemo,\t\t\n"


def test_330_a_removed_container_is_gone(command: tuple[str, ...], tmp_path: Path) -> None:
    script = "connect_again gone demo '' && show_again gone && ! is_gone web && echo there"
    assert said(command, tmp_path, script, "migrate") == "gone\tgone\nthere\n"


def test_330_a_removed_container_is_on_no_network(command: tuple[str, ...], tmp_path: Path) -> None:
    folder = shlex.quote(str(tmp_path))
    calls = f"""
    leave_overlay() {{ echo "$@"; }}
    leave_overlays
    mkdir -p {folder}/state/docker && : >{folder}/state/docker/record
    list_things
    """
    listed = said(command, tmp_path, calls, "packages")
    assert [line for line in listed.splitlines() if "container" in line or "gone" in line or "demo" in line] == [
        "demo web",
        "container\tweb\t",
    ]


def test_330_an_endpoint_is_freed_beside_a_removed_container(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "docker.joined").touch()
    script = f"{DOCKER}\nstore() {{ :; }}\nfree {NETWORK} lost {ID} || :"
    assert Mend(command, tmp_path).run(script) == [
        f"freed: an endpoint of lost on network {NETWORK[:12]}, which no container here has"
    ]


def test_330_a_keeper_is_one_that_is_there(command: tuple[str, ...], tmp_path: Path) -> None:
    assert Mend(command, tmp_path).run(f"{DOCKER}\na_keeper") == ["web"]


def test_330_a_keeper_knows_who_has_an_address(command: tuple[str, ...], tmp_path: Path) -> None:
    assert SwarmMend(command, tmp_path).run(f"{DOCKER}\nis_taken demo 10.99.0.5 other && echo taken") == ["taken"]


@pytest.mark.parametrize("command", SHELLS)
def test_a_former_keeper_goes_whatever_its_name_is_meanwhile(command: tuple[str, ...], tmp_path: Path) -> None:
    said = Shell(command, tmp_path).run("""
        docker() {
            case "$*" in
            run*) echo new ;;
            inspect*) echo 10.99.0.2 ;;
            ps*) echo new && echo former ;;
            rm*) echo "$*" >>removed ;;
            esac
        }
        put_keeper keeper demo busybox
        cat removed
    """)
    assert said == "rm -f former\n"
