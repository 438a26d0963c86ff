"""The inventory and ~/.ssh/config merged: values in, a target out. Nothing is connected to."""

from __future__ import annotations

from dataclasses import replace
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest
from paramiko.config import SSHConfig

from provision.errors import ConnectionFailed, LockHeld, Problem, ProvisionError, StepFailed
from provision.inventory.model import SSH
from provision.remote.remotes import in_parallel, merged
from provision.remote.target import Login, Target, fill_in, is_command, parse_address, read_config, resolve

PLAIN = SSH("box", None, None, None, Path("/known"), "strict", None)

CONFIG = """
Host box
  HostName 192.0.2.7
  User ops
  Port 2222
  IdentityFile ~/.ssh/box
  IdentitiesOnly yes
Host behind
  ProxyJump outer.example,ops@inner.example:2200
Host inner.example
  User never
  IdentityFile /inner
Host piped
  ProxyCommand connect %h %p
Host none
  ProxyJump none
Host loop
  ProxyJump loop
Host alias
  HostName 192.0.2.8
  HostKeyAlias theirs
"""


def target(config: str = CONFIG, *, identities: tuple[Path, ...] = (), **ssh: Any) -> Target:
    return resolve(replace(PLAIN, **ssh), Login(identities=identities), SSHConfig.from_text(config))


def test_what_nobody_says_is_as_openssh_has_it() -> None:
    found = target("")
    assert (found.host, found.port, found.user, found.keys) == ("box", 22, getuser(), ())
    assert (found.jump, found.command, found.known_as, found.host_keys) == (None, None, "box", "strict")


def test_what_the_inventory_leaves_open_the_configuration_says() -> None:
    found = target()
    assert (found.host, found.port, found.user) == ("192.0.2.7", 2222, "ops")
    assert found.keys == (Path("~/.ssh/box").expanduser(),)
    assert found.only_these_keys
    assert found.known_as == "[192.0.2.7]:2222"


def test_what_the_inventory_says_wins() -> None:
    found = target(user="root", port=22, key=Path("/mine"), identities=(Path("/given"),), gateway="root@other")
    assert (found.user, found.port, found.known_as) == ("root", 22, "192.0.2.7")
    assert found.keys == (Path("/given"), Path("/mine"), Path("~/.ssh/box").expanduser())
    assert found.jump is not None
    assert (found.jump.host, found.jump.user, found.jump.port) == ("other", "root", 22)


def test_jump_hosts_are_a_chain_each_with_its_own_settings() -> None:
    inner = target(host="behind").jump
    assert inner is not None
    assert (inner.host, inner.user, inner.port, inner.keys) == ("inner.example", "ops", 2200, (Path("/inner"),))
    assert inner.jump is not None
    assert (inner.jump.host, inner.jump.jump) == ("outer.example", None)


def test_a_command_is_one_with_its_values_filled_in() -> None:
    assert target(host="piped").command == "connect piped 22"
    assert target(gateway="nc -w %% %h %p %r", user="me").command == "nc -w % 192.0.2.7 2222 me"
    assert fill_in("%h%%h", "a", 1, "b") == "a%h"


@pytest.mark.parametrize("host", ["none", "loop"])
def test_a_jump_to_nowhere_or_to_itself_is_none(host: str) -> None:
    assert (target(host=host).jump, target(host=host).command) == (None, None)


def test_a_wildcard_jump_ends_at_the_jump_host() -> None:
    found = target("Host *\n  ProxyJump gate.example\n")
    assert found.jump is not None
    assert (found.jump.host, found.jump.jump) == ("gate.example", None)


def test_a_host_key_may_have_a_name_of_its_own() -> None:
    assert target(host="alias").known_as == "theirs"
    assert target(host="UPPER").known_as == "upper"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host", ("host", None, None)),
        ("me@host:22", ("host", 22, "me")),
        ("me@corp@host", ("host", None, "me@corp")),
        ("ssh://me@host:1", ("host", 1, "me")),
        ("[2001:db8::1]:22", ("2001:db8::1", 22, None)),
        ("2001:db8::1", ("2001:db8::1", None, None)),
    ],
)
def test_an_address_comes_apart(text: str, parts: tuple[object, ...]) -> None:
    assert parse_address(text) == parts
    assert not is_command(text)


def test_included_files_stand_where_they_are_included(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host a\n  Port 1\nInclude = more/*.conf\n  User late\nHost b\n  Port 2\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.conf").write_text("Host c\n  Port 3\nInclude nothing\nInclude config\n")
    text = read_config(tmp_path / "config", tmp_path)
    config = SSHConfig.from_text(text)
    assert [config.lookup(host).get("port") for host in "abc"] == ["1", "2", "3"]
    assert [config.lookup(host).get("user") for host in "ac"] == ["late", None]


def test_the_password_shows_in_no_repr() -> None:
    assert "canary" not in repr(Login(sudo_password="canary"))


def test_errors_merge_to_the_class_that_admits_most_and_name_each_problem_once() -> None:
    one, two = Problem("x", "a"), Problem("x", "b")
    error = merged([ConnectionFailed(one), StepFailed(one, two)])
    assert isinstance(error, StepFailed)
    assert error.problems == (one, two)
    assert isinstance(merged([LockHeld(one), LockHeld(two)]), LockHeld)
    bug = KeyError("x")
    assert merged([StepFailed(one), bug]) is bug


def test_in_parallel_keeps_the_order_and_waits_for_all_before_it_raises() -> None:
    done: list[int] = []

    def step(number: int) -> int:
        if number == 0:
            raise StepFailed(Problem("zero"))
        done.append(number)
        return number * 2

    assert in_parallel(step, [3, 1, 2]) == [6, 2, 4]
    with pytest.raises(ProvisionError):
        in_parallel(step, [0, 5, 6])
    assert sorted(done) == [1, 2, 3, 5, 6]
    assert in_parallel(step, []) == []
