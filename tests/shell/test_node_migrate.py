"""A node between two control planes: what is put back and forgotten, and notes that are whole or not there."""

from __future__ import annotations

import pytest
from node_shell import SHELLS, Shell

from provision.node import library

MIGRATE = library("migrate").removeprefix(library())


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(request.param, tmp_path_factory.mktemp("shell"))


def test_255_what_is_forgotten_is_the_hosts_again_and_all_else_stays_recorded(shell: Shell) -> None:
    ours, other = shell.folder / "ours", shell.folder / "other"
    for path in (ours, other):
        path.write_text("of its user")
    said = shell.run(f"""
        remember_path {ours} {other}
        echo changed >{ours}; echo changed >{other}
        put_back {ours}
        forget {ours}
        forget {ours} # once more, by a run that was killed
        echo 'by its user, later' >{ours}
        cat {ours} {other}
        put_back '.*'
        cat {ours} {other}
        ls $state/kept | wc -l
    """)
    assert said.split("\n")[:4] == ["by its user, later", "changed", "by its user, later", "of its user1"]


def test_255_a_record_is_forgotten_by_kind(shell: Shell) -> None:
    said = shell.run("""
        remember hold 'package docker.io' -
        remember package 'package docker-cli' none
        forget 'package ' hold
        cut -f1,2 $state/record
    """)
    assert said == "package\tpackage docker-cli\n"


def test_255_nothing_is_forgotten_without_a_record(shell: Shell) -> None:
    assert shell.run("forget '.*'") == ""


def test_248_a_note_is_written_whole_and_again(shell: Shell) -> None:
    assert (
        shell.run(f"""
        {MIGRATE}
        mkdir -p $state
        put_note migration.stage stopped
        put_note migration.stage left
        cat $state/migration.stage; ls $state
    """)
        == "left\nmigration.stage\n"
    )


def test_248_a_note_that_cannot_be_written_ends_the_step(shell: Shell) -> None:
    done = shell.try_to(f"{MIGRATE}\nput_note migration.stage stopped\n")
    assert done.returncode == 1
    assert "cannot write" in done.stderr


#: Docker as it answers of a container. What is asked of it is written to `calls`.
DOCKER = """
calls=$PWD/calls; : >"$calls"
timeout() { shift; "$@"; }
docker() {
    case "$1 $2" in
    'inspect -f') [ "$runs" ] && echo "$runs" ;;
    'inspect --format') [ "$runs" ] && echo "of $4" ;;
    'ps -a') [ "${listed-}" != silent ] && echo "${listed-}" ;;
    *) echo "$*" >>"$calls" ;;
    esac
}
"""


@pytest.mark.parametrize(
    ("runs", "words", "calls"),
    [
        (
            "false ",
            "c demo 10.99.0.5 www 'w 2'",
            ["network disconnect -f demo c", "network connect --ip 10.99.0.5 --alias www --alias w 2 demo c"],
        ),
        ("false ", "c demo ''", ["network disconnect -f demo c", "network connect demo c"]),
        ("true 10.99.0.7", "c demo '' www", []),
        ("true 10.99.0.5", "c demo 10.99.0.5", []),
        (
            "true 10.99.0.7",
            "c demo 10.99.0.5",
            ["network disconnect -f demo c", "network connect --ip 10.99.0.5 demo c"],
        ),
        ("true ", "c demo ''", ["network disconnect -f demo c", "network connect demo c"]),
        ("", "c demo '' www", []),
    ],
    ids=["address and aliases", "neither", "it runs", "at its address", "at another", "without one", "removed since"],
)
def test_245_a_container_is_connected_as_before(shell: Shell, runs: str, words: str, calls: list[str]) -> None:
    shell.run(f"{MIGRATE}\nruns='{runs}'\n{DOCKER}\nconnect_again {words}")
    assert (shell.folder / "calls").read_text().splitlines() == calls


@pytest.mark.parametrize("call", ["connect_again c demo ''", "show_again c"])
@pytest.mark.parametrize(
    ("listed", "said"), [("silent", "which containers there are"), ("b\nc", "does not show container c")]
)
def test_245_a_docker_that_does_not_answer_has_not_removed_a_container(
    shell: Shell, call: str, listed: str, said: str
) -> None:
    done = shell.try_to(f"{MIGRATE}\nruns=\nlisted=$(printf '{listed}')\n{DOCKER}\n{call}\necho went on")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_245_a_container_that_docker_does_not_list_any_more_is_gone(shell: Shell) -> None:
    assert shell.run(f"{MIGRATE}\nruns=\nlisted=$(printf 'b\\ncc')\n{DOCKER}\nshow_again c") == "gone\tc\n"
    assert shell.run(f"{MIGRATE}\nruns=true\n{DOCKER}\nshow_again c") == "of c\n"


def test_248_the_clock_is_read_in_whole_seconds_which_every_date_prints() -> None:
    assert "%N" not in MIGRATE


def test_a_container_is_started_again_at_once_where_docker_drew_another_order_of_its_networks(
    shell: Shell,
) -> None:
    why = "could not find a network matching network mode mine: network mine not found"
    said = shell.run(f"""
        {MIGRATE}
        sleep() {{ echo "slept $1"; }}
        timeout() {{ shift; "$@"; }}
        docker() {{
            echo x >>tries
            [ "$(wc -l <tries)" -gt 20 ] || {{ echo "{why}" >&2; return 1; }}
        }}
        start_again 1d
        wc -l <tries
    """)
    assert said.split() == ["21"]


def test_a_container_that_cannot_start_for_another_reason_is_given_some_time(shell: Shell) -> None:
    said = shell.run(f"""
        {MIGRATE}
        sleep() {{ echo "slept $1"; }}
        timeout() {{ shift; "$@"; }}
        docker() {{ [ "$1" = inspect ] || {{ echo "no such file" >&2; return 1; }}; }}
        start_again 1d
    """)
    assert said.splitlines() == [f"slept {pause}" for pause in ("0.3", "1", "1", "2", "3", "5", "5")]
