"""dockerd joins the store: turns, neighbours, stale endpoints, and the containers that are started again."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from node_shell import SHELLS
from store_program import Program


@pytest.fixture(params=SHELLS)
def store_program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


#: A store with one key, in a file.
ONE_KEY = """store() { case $1 in
    mk) [ ! -s "$OVERLAY_RUN/key" ] && printf %s "$5" >"$OVERLAY_RUN/key" ;;
    get) cat "$OVERLAY_RUN/key" ;;
    rm) [ "$(cat "$OVERLAY_RUN/key")" = "$3" ] && rm "$OVERLAY_RUN/key" ;;
esac; }"""


@pytest.mark.parametrize("holder", ["", "192.0.2.1:2376"])
def test_a_turn_is_taken_when_nobody_has_it_or_oneself(store_program: Program, holder: str) -> None:
    key = store_program.folder / "run" / "key"
    store_program.run("configure")
    key.write_text(holder)
    store_program.run(f"{ONE_KEY}\ntake_turn")
    assert key.read_text() == "192.0.2.1:2376"
    store_program.run(f"{ONE_KEY}\nend_turn")
    assert not key.exists()


def test_a_turn_of_another_is_neither_taken_nor_ended(store_program: Program) -> None:
    key = store_program.folder / "run" / "key"
    store_program.run("configure")
    key.write_text("192.0.2.2:2376")
    store_program.run(f"{ONE_KEY}\n! take_turn\nend_turn || :")
    assert key.read_text() == "192.0.2.2:2376"


def test_few_nodes_take_no_turns(store_program: Program) -> None:
    asked = store_program.folder / "asked"
    store_program.run(f"configure\nOVERLAY_TURNS=no\nstore() {{ echo $1 >>{asked}; }}\ntake_turn\nend_turn")
    assert asked.read_text() == "ls\n"


#: Docker and a store, with the endpoint of a container `web` that cannot start. Its commands are written to a file.
ORPHAN = """
docker() {
    case "$*" in
    *State.Error*) echo 'endpoint with name web already exists in network demo' ;;
    *Name*) echo web ;;
    *NetworkSettings.Networks*) echo demo ;;
    'network inspect'*) echo net ;;
    'inspect web') false ;;
    *) echo "$*" >>"$OVERLAY_RUN/did" ;;
    esac
}
store() {
    case $1 in
    ls) echo /docker/network/v1.0/endpoint/net/1 ;;
    get) echo '{"locator":"%s","name":"web","sandbox":""}' ;;
    esac
}
"""


def test_an_endpoint_that_a_killed_dockerd_left_is_freed_by_its_name(store_program: Program) -> None:
    store_program.run("configure\n" + ORPHAN % "192.0.2.1" + "free 1d")
    assert (store_program.folder / "run" / "did").read_text().splitlines() == [
        "rename 1d web.overlay-join",
        "network disconnect --force net web",
        "rename 1d web",
    ]


def test_an_endpoint_of_another_hosts_container_of_that_name_is_not_touched(store_program: Program) -> None:
    store_program.run("configure\n" + ORPHAN % "192.0.2.2" + "free 1d || :")
    assert not (store_program.folder / "run" / "did").exists()


#: A store with announcements, and a journal of dockerd with its neighbours. Removed keys are written to a file.
GOSSIP = """
sleep() {{ :; }}
store() {{
    case $1 in
    ls) printf '/docker/nodes/192.0.2.1:2376\\n{announced}' ;;
    rm) echo "$2" >>"$OVERLAY_RUN/did" ;;
    esac
}}
systemctl() {{ printf {invocation}; }}
journalctl() {{ printf 'serf: EventMemberJoin: node1 192.0.2.1\\n{heard}'; }}
find_neighbours >/dev/null
"""
OTHER = "/docker/nodes/192.0.2.2:2376"


@pytest.mark.parametrize(
    ("announced", "heard", "invocation", "removed"),
    [
        (f"{OTHER}\\n", "", "f00", True),
        (f"{OTHER}\\n", "serf: EventMemberJoin: node2 192.0.2.2\\n", "f00", False),
        (f"{OTHER}\\n", "", "''", False),
        ("", "", "f00", False),
    ],
    ids=["nobody answered", "one answered", "systemd is silent", "nobody is there"],
)
def test_a_dockerd_that_nobody_has_answered_has_its_neighbours_announced_anew(
    store_program: Program, announced: str, heard: str, invocation: str, removed: bool
) -> None:
    store_program.run("configure store\n" + GOSSIP.format(announced=announced, heard=heard, invocation=invocation))
    did = store_program.folder / "run" / "did"
    assert (set(did.read_text().splitlines()) if did.exists() else set()) == ({OTHER} if removed else set())


#: Questions and started containers are written to files. Docker itself compares the times.
SHUT_DOWN = """
docker() { case $1 in ps) echo 1d ;; inspect) echo "$3" >>"$OVERLAY_RUN/asked"; echo 1d ;; esac; }
xargs() { cat >>"$OVERLAY_RUN/did"; }
"""


def test_who_was_shut_down_by_a_dockerd_that_started_is_started_once(store_program: Program) -> None:
    run = store_program.folder / "run"
    store_program.run(f"{SHUT_DOWN}prepare; sleep 0.01; prepare\nstart_shut_down; start_shut_down")
    assert (run / "did").read_text() == "1d\n"
    asked = (run / "asked").read_text()
    assert asked.count("gt .State.FinishedAt") == 1
    began, served = re.findall(r'FinishedAt "([0-9T:-]+(?:\.\d{9})?Z?)"', asked)
    assert began < served
    assert not began.endswith("Z")  # sorts before any fraction of the second
    assert served.endswith("Z")  # sorts after any fraction


def test_a_start_of_the_unit_alone_starts_nobody(store_program: Program) -> None:
    """The same holds for the first start of a version that records when dockerd began."""
    store_program.run(f"configure\n{SHUT_DOWN}start_shut_down")
    assert not (store_program.folder / "run" / "did").exists()


def test_docker_is_asked_when_it_has_written_something_down(store_program: Program) -> None:
    containers = store_program.folder / "containers" / "1d"
    containers.mkdir(parents=True)
    (containers / "config.v2.json").touch()
    looked = store_program.folder / "run" / "docker.looked"
    say = 'has_changed "$OVERLAY_PKI/containers" && echo yes >>"$OVERLAY_RUN/said"; :'
    store_program.run("configure")
    looked.touch()
    os.utime(looked, (9, 9))  # busybox compares seconds
    os.utime(containers / "config.v2.json", (0, 0))
    store_program.run(say)
    assert not (store_program.folder / "run" / "said").exists()
    (containers / "config.v2.json").touch()
    store_program.run(say)
    assert (store_program.folder / "run" / "said").exists()


#: Containers as the format of `left` prints them: on an overlay or not, failed because of the overlay or otherwise.
FAILED = """
docker() {
    case $1 in
    network) printf 'bridge\\nhost\\nmine\\n' ;;
    ps) echo 0 ;;
    inspect) cat <<'LINES'
a1 demo : endpoint with name web already exists in network demo
a2 mine demo : network sandbox join failed
b1 demo : exec: "nothing": executable file not found
b2 bridge : driver failed programming external connectivity on endpoint web: port is already allocated
b3 mine : network mine not found
b4 demo :
LINES
        ;;
    esac
}
left >"$OVERLAY_RUN/left"
"""


def test_only_what_wants_an_overlay_is_started_again(store_program: Program) -> None:
    store_program.run("configure\n" + FAILED)
    assert (store_program.folder / "run" / "left").read_text().split() == ["a1", "a2"]


def test_a_name_that_was_set_aside_when_the_power_went_is_put_back(store_program: Program) -> None:
    docker = (
        'docker() { case $1 in ps) printf "web.overlay-join\\nother\\n" ;; *) echo "$*" >>"$OVERLAY_RUN/did" ;; esac; }'
    )
    store_program.run(f"configure\n{docker}\nput_names_back")
    assert (store_program.folder / "run" / "did").read_text() == "rename web.overlay-join web\n"
