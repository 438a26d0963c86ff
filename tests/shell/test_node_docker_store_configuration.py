"""The configuration that docker-store makes for dockerd from the user's own, and when it contains the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from node_shell import SHELLS
from store_program import STORE, Program

from provision.docker.hardening import defaults
from provision.inventory.model import Hardening

KEYS = {"cluster-store", "cluster-advertise", "cluster-store-opts"}
USERS = [
    "",
    "{}",
    "{ }\n",
    "\n{\n}\n",
    '{"live-restore": true}',
    '{\n  "log-opts": {"max-size": "10m", "tag": "100%s {{.Name}} \\\\ $x `y`"},\n  "labels": ["a=b"]\n}\n',
]


@pytest.fixture(params=SHELLS)
def store_program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


@pytest.mark.parametrize("users", USERS)
def test_the_store_is_added_to_the_users_configuration(store_program: Program, users: str) -> None:
    store_program.users.write_text(users)
    found = store_program.run("configure store_keys")
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


@pytest.mark.parametrize("call", ["configure", "configure store_keys"])
@pytest.mark.parametrize(
    ("users", "left_out"),
    [
        ({}, set()),
        ({"debug": True, "log-level": "warn"}, set()),
        ({"icc": True}, {"icc"}),
        ({"no-new-privileges": False, "userland-proxy": True}, {"no-new-privileges", "userland-proxy"}),
        ({"log-opts": {"max-size": "1m"}}, {"log-opts"}),
        ({"log-driver": "syslog"}, {"log-opts"}),  # this driver has no max-size: dockerd would not start
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


@pytest.mark.parametrize("call", ["configure", "configure store_keys"])
def test_no_configuration_of_the_users_is_an_empty_one(store_program: Program, call: str) -> None:
    assert store_program.run(call).keys() == (KEYS if "store_keys" in call else set())


def test_it_is_for_root_alone_and_whole(store_program: Program) -> None:
    store_program.run("configure store_keys")
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


@pytest.mark.parametrize("live", [False, True])
def test_269_with_another_address_the_store_is_joined_when_the_others_have_forgotten_the_old_one(
    store_program: Program, *, live: bool
) -> None:
    store_program.users.write_text(f'{{"live-restore": {str(live).lower()}}}')
    store_program.run("configure store_keys")
    (store_program.folder / "run" / "docker.cleaned").touch()
    environment = store_program.folder / "store.env"
    environment.write_text(environment.read_text().replace("192.0.2.1:2376", "192.0.2.7:2376"))
    moved, did = (store_program.folder / "run" / name for name in ("docker.moved", "did"))
    for _ in range(2):  # once more, should this dockerd not have come to it
        assert store_program.run("store() { true; }\nprepare").keys() == {"live-restore"}
        assert moved.exists()
    wait = f"sleep() {{ echo $1 >>{did}; }}\nawait_forgotten >/dev/null"
    store_program.run(f"{wait}\n{wait}")
    assert (did.read_text(), moved.exists()) == ("60\n", False)
    store_program.run("configure store_keys\nprepare")
    assert not moved.exists()


def test_a_reload_keeps_the_members_that_dockerd_knows(store_program: Program) -> None:
    """dockerd gets other members only at its next start."""
    before = store_program.run("configure store_keys")["cluster-store"]
    environment = store_program.folder / "store.env"
    environment.write_text(environment.read_text().replace("192.0.2.1:2379", "192.0.2.7:2379"))
    assert store_program.run("hang_up() { :; }\nreload")["cluster-store"] == before
    assert store_program.run("configure store_keys")["cluster-store"] != before


def test_one_that_is_to_be_started_whole_is_so_once(store_program: Program) -> None:
    store_program.run("configure")
    (store_program.folder / "run" / "docker.whole").touch()
    assert store_program.run("store() { true; }\nprepare").keys() == KEYS
    assert store_program.run("store() { true; }\nprepare") == {}


def test_a_reload_keeps_the_store_or_its_absence(store_program: Program) -> None:
    store_program.run("configure store_keys")
    store_program.users.write_text('{"debug": true}')
    assert store_program.run("hang_up() { :; }\nreload").keys() == KEYS | {"debug"}
    store_program.run("configure")
    store_program.users.write_text('{"debug": false}')
    assert store_program.run("hang_up() { :; }\nreload") == {"debug": False}
