"""What a node is asked at the end of a recovery, really run: a Docker that is silent is not one that has nothing."""

from __future__ import annotations

import pytest
from node_shell import SHELLS, Shell

from provision.recovery import proof
from provision.remote import Result

OWN, OTHERS = "keeper-1", ("keeper-1", "keeper-2", "keeper-3")
#: `timeout` runs its command. Docker says what the test wants.
STANDS_IN = """
timeout() { shift; "$@"; }
docker() { case "$*" in %s *) echo "unasked: $*" >&2; return 9 ;; esac; }
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: object) -> Shell:
    return Shell(request.param, tmp_path)  # type: ignore[arg-type]


def answered(shell: Shell, script: str, *cases: str) -> tuple[list[str] | None, str]:
    done = shell.try_to(f"{STANDS_IN % ' '.join(cases)}\n{script}")
    return proof.said(Result(done.returncode, done.stdout, done.stderr)), done.stderr.strip()


HERE = "'container inspect'*) echo . ;;"


@pytest.mark.parametrize(
    "daemon", ["Error: No such container: keeper-1", "Error response: no such container: keeper-1"]
)
def test_346_a_node_without_a_keeper_tries_nothing(shell: Shell, daemon: str) -> None:
    case = f"'container inspect'*) echo '{daemon}' >&2; return 1 ;;"
    assert answered(shell, proof.pings(OWN, OTHERS), case)[0] == [proof.UNTRIED]


def test_346_a_docker_that_does_not_answer_is_not_a_node_without_a_keeper(shell: Shell) -> None:
    case = "'container inspect'*) echo 'Cannot connect to the Docker daemon' >&2; return 1 ;;"
    assert answered(shell, proof.pings(OWN, OTHERS), case) == (None, "Cannot connect to the Docker daemon")
    assert answered(shell, proof.pings(OWN, OTHERS), "'container inspect'*) return 124 ;;")[0] is None


def test_346_keepers_that_do_not_answer_are_named(shell: Shell) -> None:
    pinged = "*'ping'*keeper-2) ;; *'ping'*) return 1 ;;"
    assert answered(shell, proof.pings(OWN, OTHERS), HERE, pinged)[0] == ["keeper-3"]
    assert answered(shell, proof.pings(OWN, OTHERS), HERE, "*'ping'*) ;;")[0] == []


@pytest.mark.parametrize(
    ("cases", "found"),
    [
        (
            "ps*) echo 1; echo 2 ;; 'inspect'*' 1 2') echo '1 /web then'; echo '2 /db then' ;;",
            ["1 /web then", "2 /db then"],
        ),
        ("ps*) ;;", []),
        ("ps*) return 1 ;;", None),
        ("ps*) echo 1 ;; inspect*) return 1 ;;", None),
        # It has ended between the two commands.
        (
            "ps*) [ -e again ] || echo 2; echo 1 ;;"
            " inspect*2*) : >again; echo '1 /web then'; return 1 ;; inspect*) echo '1 /web then' ;;",
            ["1 /web then"],
        ),
    ],
)
def test_346_containers_are_listed_as_a_whole_or_not_at_all(shell: Shell, cases: str, found: list[str] | None) -> None:
    assert answered(shell, proof.RUNNING, cases)[0] == found


def test_346_networks_are_listed_as_a_whole_or_not_at_all(shell: Shell) -> None:
    assert answered(shell, proof.NETWORKS, "'network ls'*) echo demo ;;")[0] == ["demo"]
    assert answered(shell, proof.NETWORKS, "'network ls'*) echo demo; return 124 ;;")[0] is None
