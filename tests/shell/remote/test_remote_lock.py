from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_sshd import BUSYBOX, SUDO_PASSWORD, Sshd, StartSshd, await_true

from provision.errors import LockHeld, StepFailed
from provision.inventory.model import Node
from provision.remote import Login, Remotes, lock, shell

LOGIN = Login(sudo_password=SUDO_PASSWORD)
FREE = "flock -n /run/overlay-provision/run.lock true"

KILL_HOLDER = """
for held in /proc/[0-9]*/fd/9; do
    [ "$held" -ef /run/overlay-provision/run.lock ] || continue
    process=${held%/fd/9}
    kill -9 "${process#/proc/}"
done
"""

HOLDER = """
import sys, pickle
from provision.remote import Remotes, Login
nodes, password = pickle.loads(bytes.fromhex(sys.argv[1]))
with Remotes.open(nodes, Login(sudo_password=password)) as remotes, remotes.lock("reset"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["root", "ops", "root on busybox"])
def servers(request: pytest.FixtureRequest, start: StartSshd) -> tuple[Sshd, Sshd]:
    namespace = BUSYBOX if "busybox" in request.param else ""
    return start(namespace=namespace), start(namespace=namespace)


@pytest.fixture
def nodes(servers: tuple[Sshd, Sshd], request: pytest.FixtureRequest) -> tuple[Node, Node]:
    user = request.node.callspec.params["servers"].split()[0]
    first, second = servers
    return first.node("a", "198.51.100.10", user=user), second.node("b", "198.51.100.9", user=user)


@pytest.fixture
def remotes(nodes: tuple[Node, Node]) -> Iterator[Remotes]:
    with Remotes.open(nodes, LOGIN) as remotes:
        yield remotes


@pytest.fixture
def holder(nodes: tuple[Node, Node]) -> Iterator[subprocess.Popen[str]]:
    """Another controller, a process of its own, that holds the locks."""
    arguments = pickle.dumps((nodes, SUDO_PASSWORD)).hex()
    command = [sys.executable, "-c", HOLDER, arguments]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def all_free(remotes: Remotes) -> bool:
    return all(result.code == 0 for result in remotes.each(lambda remote: remote.run(FREE)).values())


def test_71_two_runs_exclude_each_other_and_the_second_is_told_of_the_first(
    remotes: Remotes, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(LockHeld) as refused, remotes.lock("provision"):
        pass
    (problem,) = refused.value.problems
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    assert problem.what.startswith(f"locked by `reset` of {user}@")
    assert " since 20" in problem.what
    assert problem.where == "b", "addresses are taken in order of number, not of text"
    assert holder.poll() is None


def test_the_lock_is_free_after_the_block_and_can_be_taken_again(remotes: Remotes) -> None:
    for _ in range(3):
        with remotes.lock("provision"):
            assert not all_free(remotes)
        await_true(lambda: all_free(remotes))


def test_what_was_taken_is_released_when_the_next_is_refused(remotes: Remotes, nodes: tuple[Node, Node]) -> None:
    with Remotes.open(nodes[:1], LOGIN) as one, one.lock("plan"):
        with pytest.raises(LockHeld), remotes.lock("provision"):
            pass
        await_true(lambda: remotes["b"].run(FREE).code == 0)


def test_the_lock_outlives_no_step_of_its_own_run(remotes: Remotes) -> None:
    with remotes.lock("provision") as held:
        remotes.each(lambda remote: remote.run("sleep 0.1", changes=True))
        held.check()
    await_true(lambda: all_free(remotes))


def test_72_a_killed_holder_releases_at_once(remotes: Remotes, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    await_true(lambda: all_free(remotes))
    with remotes.lock("provision"):
        assert "provision" in remotes["a"].run("cat /run/overlay-provision/runs/*").stdout


@pytest.mark.parametrize("servers", ["root"], indirect=True)
def test_58_a_holder_that_falls_silent_loses_the_lock(remotes: Remotes, holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGSTOP)
    await_true(lambda: all_free(remotes))
    os.kill(holder.pid, signal.SIGCONT)


@pytest.mark.parametrize("servers", ["root"], indirect=True)
def test_who_lost_the_lock_is_told(
    remotes: Remotes, servers: tuple[Sshd, Sshd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.05)
    with remotes.lock("provision") as held:
        held.check()
        servers[1].inside(KILL_HOLDER)

        def lost() -> bool:
            try:
                held.check()
            except StepFailed as error:
                return [problem.where for problem in error.problems] == ["b"]
            return False

        await_true(lost)


def test_the_lock_file_is_roots_alone(remotes: Remotes) -> None:
    with remotes.lock("provision"):
        modes = remotes["a"].run("stat -c '%a %U' /run/overlay-provision /run/overlay-provision/run.lock").stdout
    assert modes == "700 root\n600 root\n"


def test_the_limit_is_three_heartbeats() -> None:
    assert shell.HEARTBEAT * 3 == shell.HEARTBEAT_LIMIT


def test_runs_that_share_the_lock_go_beside_each_other_and_keep_others_out(
    remotes: Remotes, nodes: tuple[Node, Node]
) -> None:
    with Remotes.open(nodes, LOGIN) as others, remotes.lock("verify", shared=True), others.lock("verify", shared=True):
        assert remotes.living() == {remotes.run, others.run}
        with Remotes.open(nodes, LOGIN) as third, pytest.raises(LockHeld) as refused, third.lock("provision"):
            pass
        assert "and 1 more" in refused.value.problems[0].what
    await_true(lambda: remotes.living() == set())


def test_the_run_of_a_dead_holder_is_not_among_the_living(remotes: Remotes, holder: subprocess.Popen[str]) -> None:
    assert len(remotes.living()) == 1
    os.kill(holder.pid, signal.SIGKILL)
    await_true(lambda: remotes.living() == set())
    with remotes.lock("provision"):
        assert remotes["a"].run("ls /run/overlay-provision/runs").stdout == f"{remotes.run}\n"
