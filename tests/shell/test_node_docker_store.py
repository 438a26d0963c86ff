"""The program that gives dockerd its configuration, really run: what it makes of the user's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from node_shell import SHELLS

from provision.docker.hardening import defaults
from provision.inventory.model import Hardening
from provision.planes.etcd.node import program

STORE = "etcd://192.0.2.1:2379,192.0.2.2:2379"
KEYS = {"cluster-store", "cluster-advertise", "cluster-store-opts"}
FUNCTIONS, _, _ = program("docker_store").decode().rpartition("case ${1-} in")

USERS = [
    "",
    "{}",
    "{ }\n",
    "\n{\n}\n",
    '{"live-restore": true}',
    '{\n  "log-opts": {"max-size": "10m", "tag": "100%s {{.Name}} \\\\ $x `y`"},\n  "labels": ["a=b"]\n}\n',
]


class Program:
    """The program in a shell, with folders of the test's own."""

    def __init__(self, command: tuple[str, ...], folder: Path) -> None:
        self.command, self.folder = command, folder
        self.users, self.config = folder / "user's daemon.json", folder / "run" / "daemon.json"
        (folder / "store.env").write_text(
            f"OVERLAY_STORE={STORE}\nOVERLAY_ADVERTISE=192.0.2.1:2376\nOVERLAY_TURNS=yes\n"
            f"OVERLAY_CONFIG={str(self.users)!r}\n"
        )

    def run(self, call: str) -> Any:
        """Make a call; return the configuration that is there then."""
        environment = {
            "OVERLAY_PKI": str(self.folder),
            "OVERLAY_RUN": str(self.folder / "run"),
            "PATH": "/usr/bin:/bin",
        }
        done = subprocess.run(
            self.command, input=f"{FUNCTIONS}\n{call}\n", capture_output=True, text=True, env=environment, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return json.loads(self.config.read_text())


@pytest.fixture(params=SHELLS)
def store_program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


@pytest.mark.parametrize("users", USERS)
def test_the_store_is_added_to_the_users_configuration(store_program: Program, users: str) -> None:
    store_program.users.write_text(users)
    found = store_program.run("configure store")
    assert found.pop("cluster-store") == STORE
    assert found.pop("cluster-advertise") == "192.0.2.1:2376"
    folder = store_program.folder
    assert found.pop("cluster-store-opts") == {
        "kv.cacertfile": f"{folder}/store-ca.crt",
        "kv.certfile": f"{folder}/store.crt",
        "kv.keyfile": f"{folder}/store.key",
    }
    assert found == json.loads(users or "{}")


@pytest.mark.parametrize("users", USERS)
def test_without_the_store_it_is_the_users_own(store_program: Program, users: str) -> None:
    store_program.users.write_text(users)
    assert store_program.run("configure") == json.loads(users or "{}")


NOFILE = {"nofile": {"Name": "nofile", "Soft": 65536, "Hard": 1048576}}
ROTATED = {"max-size": "10m", "max-file": "3"}
EVERY = Hardening(limit_open_files=True, isolate_default_bridge=True, without_userland_proxy=True)


@pytest.mark.parametrize("call", ["configure", "configure store"])
@pytest.mark.parametrize(
    ("users", "left_out"),
    [
        ({}, set()),
        ({"debug": True, "log-level": "warn"}, set()),
        ({"icc": True}, {"icc"}),
        ({"no-new-privileges": False, "userland-proxy": True}, {"no-new-privileges", "userland-proxy"}),
        ({"log-opts": {"max-size": "1m"}}, {"log-opts"}),
        ({"log-driver": "syslog"}, {"log-opts"}),  # which does not know max-size: dockerd would not start
        ({"default-ulimits": {}}, {"default-ulimits"}),
    ],
)
def test_what_is_set_for_safety_is_what_the_user_does_not_speak_of(
    store_program: Program, users: dict[str, Any], left_out: set[str], call: str
) -> None:
    ours = {
        "no-new-privileges": True,
        "log-opts": ROTATED,
        "default-ulimits": NOFILE,
        "icc": False,
        "userland-proxy": False,
    }
    (store_program.folder / "hardening").write_bytes(defaults(EVERY, flags=""))
    store_program.users.write_text(json.dumps(users))
    found = store_program.run(call)
    expected = {key: value for key, value in ours.items() if key not in left_out} | users
    assert {key: value for key, value in found.items() if key not in KEYS} == expected
    assert KEYS.isdisjoint(found) == (call == "configure")


@pytest.mark.parametrize("call", ["configure", "configure store"])
def test_no_configuration_of_the_users_is_an_empty_one(store_program: Program, call: str) -> None:
    assert store_program.run(call).keys() == (KEYS if "store" in call else set())


def test_it_is_for_root_alone_and_whole(store_program: Program) -> None:
    store_program.run("configure store")
    assert store_program.config.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in store_program.config.parent.iterdir()] == ["daemon.json"]


def test_a_store_that_does_not_answer_is_not_waited_for(store_program: Program) -> None:
    run = store_program.folder / "run"
    run.mkdir()
    (run / "docker.cleaned").touch()
    (run / "docker.joined").touch()
    assert store_program.run("prepare") == {}
    assert not (run / "docker.joined").exists()


def test_before_a_dockerd_has_joined_since_the_boot_the_store_is_not_asked(store_program: Program) -> None:
    assert store_program.run("store() { echo asked; }\nprepare") == {}


def test_under_live_restore_one_that_has_joined_before_is_started_on_a_store_that_answers(
    store_program: Program,
) -> None:
    store_program.users.write_text('{"live-restore" : true}')
    store_program.run("configure")
    assert store_program.run("store() { true; }\nprepare").keys() == {"live-restore"}
    (store_program.folder / "run" / "docker.cleaned").touch()
    assert store_program.run("store() { true; }\nprepare").keys() == KEYS | {"live-restore"}
    store_program.users.write_text('{"live-restore" : false}')
    assert store_program.run("store() { true; }\nprepare").keys() == {"live-restore"}


def test_a_reload_keeps_the_members_that_dockerd_knows(store_program: Program) -> None:
    """It takes others up at its next start only."""
    before = store_program.run("configure store")["cluster-store"]
    environment = store_program.folder / "store.env"
    environment.write_text(environment.read_text().replace("192.0.2.1:2379", "192.0.2.7:2379"))
    assert store_program.run("hang_up() { :; }\nreload")["cluster-store"] == before
    assert store_program.run("configure store")["cluster-store"] != before


def test_one_that_is_to_be_started_whole_is_so_once(store_program: Program) -> None:
    store_program.run("configure")
    (store_program.folder / "run" / "docker.whole").touch()
    assert store_program.run("store() { true; }\nprepare").keys() == KEYS
    assert store_program.run("store() { true; }\nprepare") == {}


#: Docker and a store with the endpoint of a container `web`, that cannot start: what is asked for is written down.
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


#: A store with announcements, and what a dockerd's journal has of its neighbours; what is removed is written down.
GOSSIP = """
sleep() {{ :; }}
store() {{
    case $1 in
    ls) printf '/docker/nodes/192.0.2.1:2376\\n{announced}' ;;
    rm) echo "$2" >>"$OVERLAY_RUN/did" ;;
    esac
}}
systemctl() {{ :; }}
journalctl() {{ printf 'serf: EventMemberJoin: node1 192.0.2.1\\n{heard}'; }}
find_neighbours >/dev/null
"""
OTHER = "/docker/nodes/192.0.2.2:2376"


@pytest.mark.parametrize(
    ("announced", "heard", "removed"),
    [
        (f"{OTHER}\\n", "", True),
        (f"{OTHER}\\n", "serf: EventMemberJoin: node2 192.0.2.2\\n", False),
        ("", "", False),
    ],
    ids=["nobody answered", "one answered", "nobody is there"],
)
def test_a_dockerd_that_nobody_has_answered_has_its_neighbours_announced_anew(
    store_program: Program, announced: str, heard: str, removed: bool
) -> None:
    store_program.run("configure store\n" + GOSSIP.format(announced=announced, heard=heard))
    did = store_program.folder / "run" / "did"
    assert (set(did.read_text().splitlines()) if did.exists() else set()) == ({OTHER} if removed else set())


#: What is asked for and started is written down. Docker itself judges the times.
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
    assert not began.endswith("Z")  # before any fraction of its second
    assert served.endswith("Z")  # after any


def test_a_start_of_the_unit_alone_starts_nobody(store_program: Program) -> None:
    """Nor does the first one of a version that notes when dockerd began."""
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


#: As the format of `left` prints them: on an overlay or not, failed for want of it or otherwise.
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


def test_a_reload_keeps_the_store_or_its_absence(store_program: Program) -> None:
    store_program.run("configure store")
    store_program.users.write_text('{"debug": true}')
    assert store_program.run("hang_up() { :; }\nreload").keys() == KEYS | {"debug"}
    store_program.run("configure")
    store_program.users.write_text('{"debug": false}')
    assert store_program.run("hang_up() { :; }\nreload") == {"debug": False}


#: A store in a file: it holds one key.
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
