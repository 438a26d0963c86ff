"""The inventory and OpenSSH's answer merged: a configuration in, a target out. Nothing is connected to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from getpass import getuser
from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConnectionFailed, Exit, LockHeld, Problem, ProvisionError, StepFailed, UsageError
from provision.inventory.model import SSH
from provision.remote import openssh
from provision.remote.openssh import Options, Question, fill_in
from provision.remote.remotes import in_parallel, merged
from provision.remote.target import DEFAULT_KEYS, Login, Target, is_command, parse_address, resolve

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
  HostName 192.0.2.9
  ProxyCommand connect %h %p %n
Host none
  ProxyJump none
Host loop
  ProxyJump loop
Host alias
  HostName 192.0.2.8
  HostKeyAlias theirs
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Target]:
    """Resolve a host with a configuration that OpenSSH reads."""
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/usual-agent")
    openssh.options.cache_clear()

    def call(config: str = CONFIG, *, identities: tuple[Path, ...] = (), **ssh: Any) -> Target:
        file = tmp_path / f"config{len(list(tmp_path.iterdir()))}"
        file.write_text(config)
        return resolve(replace(PLAIN, **ssh), Login(identities=identities, configuration=file))

    return call


Resolve = Callable[..., Target]


def test_what_nobody_says_is_as_openssh_has_it(target: Resolve) -> None:
    found = target("")
    assert (found.host, found.port, found.user, found.keys) == ("box", 22, getuser(), ())
    assert found.default_keys == tuple(key.expanduser() for key in DEFAULT_KEYS)
    assert found.agent == Path("/run/usual-agent")
    assert (found.jump, found.command, found.known_as, found.host_keys) == (None, None, "box", "strict")


def test_what_the_inventory_leaves_open_the_configuration_says(target: Resolve) -> None:
    found = target()
    assert (found.host, found.port, found.user) == ("192.0.2.7", 2222, "ops")
    assert found.keys == (Path("~/.ssh/box").expanduser(),)
    assert found.only_these_keys
    assert found.known_as == "[192.0.2.7]:2222"


def test_what_the_inventory_says_wins(target: Resolve) -> None:
    found = target(user="root", port=22, key=Path("/mine"), identities=(Path("/given"),), gateway="root@other")
    assert (found.user, found.port, found.known_as) == ("root", 22, "192.0.2.7")
    assert found.keys == (Path("/given"), Path("/mine"), Path("~/.ssh/box").expanduser())
    assert found.jump is not None
    assert (found.jump.host, found.jump.user, found.jump.port) == ("other", "root", 22)


def test_jump_hosts_are_a_chain_each_with_its_own_settings(target: Resolve) -> None:
    inner = target(host="behind").jump
    assert inner is not None
    assert (inner.host, inner.user, inner.port, inner.keys) == ("inner.example", "ops", 2200, (Path("/inner"),))
    assert inner.jump is not None
    assert (inner.jump.host, inner.jump.jump) == ("outer.example", None)


def test_a_command_is_one_with_its_values_filled_in(target: Resolve) -> None:
    assert target(host="piped").command == "connect 192.0.2.9 22 piped"
    assert target(gateway="nc -w %% %h %p %r", user="me").command == "nc -w % 192.0.2.7 2222 me"
    assert fill_in("%h%%h%z", {"%h": "a", "%%": "%"}) == "a%h%z"


def test_a_jump_to_nowhere_is_none(target: Resolve) -> None:
    assert (target(host="none").jump, target(host="none").command) == (None, None)


def test_156_a_jump_host_behind_itself_is_refused_as_openssh_refuses_it(target: Resolve) -> None:
    for config, host in ((CONFIG, "loop"), ("Host *\n  ProxyJump gate.example\n", "box")):
        with pytest.raises(UsageError, match="jumphost loop via"):
            target(config, host=host)
    found = target("Host gate.example\n  ProxyJump none\nHost *\n  ProxyJump gate.example\n")
    assert found.jump is not None
    assert (found.jump.host, found.jump.jump) == ("gate.example", None)


def test_a_host_key_may_have_a_name_of_its_own(target: Resolve) -> None:
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


def test_105_156_a_last_pass_of_openssh_counts(target: Resolve) -> None:
    last = "Match final all\n  Port 2200\nMatch final host inside.example\n  User in\n"
    found = target(f"Host box\n  HostName inside.example\n{last}")
    assert (found.host, found.port, found.user) == ("inside.example", 2200, "in")


def test_105_156_criteria_see_what_the_inventory_says(target: Resolve) -> None:
    config = 'Match user ops\n  Port 2200\nMatch exec "test %p = 2200"\n  HostKeyAlias tried\n'
    found = target(config, user="ops")
    assert (found.port, found.known_as) == (2200, "[tried]:2200")
    assert target(config).port == 22


@pytest.mark.parametrize("line", ["Match wibble x", "Frobnicate yes", "Port many"])
def test_105_157_what_openssh_refuses_is_a_mistake_of_usage(target: Resolve, line: str) -> None:
    with pytest.raises(UsageError, match=r"OpenSSH refuses its configuration: .* ?line 1") as refused:
        target(f"{line}\n  HostName 192.0.2.66\n")
    assert refused.value.exit_code == Exit.USAGE
    assert "ssh -G" in refused.value.problems[0].advice


def test_105_158_comments_quotes_and_tokens_are_as_openssh_has_them(
    target: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYS", "/keys")
    lines = ("User ops # mine", 'IdentityFile "~/my keys/%n" # second', "IdentityFile ${KEYS}/%r@%h%%", "Port=2200")
    found = target("Host box\n  HostName %h.example\n  " + "\n  ".join(lines) + "\n")
    assert (found.host, found.user, found.port) == ("box.example", "ops", 2200)
    assert found.keys == (openssh.home() / "my keys/box", Path("/keys/ops@box.example%"))


@pytest.mark.parametrize(
    ("named", "agent"),
    [
        ("none", None),
        ("SSH_AUTH_SOCK", Path("/run/usual-agent")),
        ("$OTHER", Path("/run/other")),
        ("~/agent.sock", openssh.home() / "agent.sock"),
        ('"/run/%r agent"', Path("/run/root agent")),
    ],
)
def test_159_the_agent_is_the_configurations(
    target: Resolve, monkeypatch: pytest.MonkeyPatch, named: str, agent: Path | None
) -> None:
    monkeypatch.setenv("OTHER", "/run/other")
    assert target(f"Host *\n  IdentityAgent {named}\n", user="root").agent == agent


def test_159_no_key_file_at_all_is_a_choice_too(target: Resolve) -> None:
    found = target("Host *\n  IdentityFile none\n")
    assert (found.keys, found.default_keys) == ((), ())


def test_160_a_configuration_without_openssh_is_a_mistake_of_usage(
    target: Resolve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"no OpenSSH client \(`ssh`\) to read .*config") as refused:
        target()
    assert refused.value.exit_code == Exit.USAGE
    monkeypatch.setattr(openssh, "home", lambda: tmp_path)
    monkeypatch.setattr(openssh, "SYSTEM_FILE", tmp_path / "none")
    assert resolve(replace(PLAIN, host="plain"), Login()).host == "plain"


def test_openssh_is_asked_once_for_a_host(tmp_path: Path) -> None:
    config = f'Match exec "echo >>{tmp_path}/asked"\n  Port 2200\n'
    file = tmp_path / "config"
    file.write_text(config)
    nodes = [replace(PLAIN, host=f"node{number}", gateway="gate.example") for number in range(4)]
    in_parallel(lambda ssh: resolve(ssh, Login(configuration=file)), nodes)
    assert len((tmp_path / "asked").read_text().splitlines()) == 5  # four nodes, and their jump host


def test_an_answer_of_another_openssh_may_lack_and_add_lines() -> None:
    answer = "Host x\nport 23\nnovelty 7\nproxyjump none\n"
    assert openssh.parse(answer, Question("x", user="me")) == Options("x", 23, "me")


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
