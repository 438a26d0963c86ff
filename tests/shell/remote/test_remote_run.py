from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_sshd import BUSYBOX, SUDO_PASSWORD, Sshd, StartSshd, await_true

from provision.errors import StepFailed
from provision.remote import Login, Remote, Result, connect, scripts
from provision.remote.scripts import run_line

LOGIN = Login(sudo_password=SUDO_PASSWORD)


@pytest.fixture(params=["root", "ops", "ops with bash", "root on busybox", "ops on busybox"])
def anyone(request: pytest.FixtureRequest, start: StartSshd) -> Iterator[Remote]:
    user, _, place = request.param.partition(" ")
    server = start(shell="/bin/bash" if "bash" in place else "/bin/sh", namespace=BUSYBOX if "busybox" in place else "")
    remote = connect(server.node(user=user), LOGIN)
    yield remote
    remote.close()


@pytest.fixture
def remote(server: Sshd) -> Iterator[Remote]:
    remote = connect(server.node(), LOGIN)
    yield remote
    remote.close()


def test_248_a_change_that_fails_is_an_error_with_its_last_words(remote: Remote) -> None:
    remote.carry_out("echo words >&2", "removing the record")
    with pytest.raises(StepFailed, match="removing the record: read-only"):
        remote.carry_out("echo read-only >&2; exit 1", "removing the record")
    with pytest.raises(StepFailed, match="removing the record: exit code 3"):
        remote.carry_out("exit 3", "removing the record")


def test_a_script_runs_as_root_and_its_streams_and_code_come_apart(anyone: Remote) -> None:
    assert anyone.run("id -u; echo oops >&2; exit 3") == Result(3, "0\n", "oops\n")


def test_the_busybox_server_has_busybox_where_it_says(start: StartSshd) -> None:
    remote = connect(start(namespace=BUSYBOX).node(), LOGIN)
    said = remote.run("for name in sh head timeout mv; do $name --help 2>&1 | head -n 1; done").stdout
    assert said.count("BusyBox") == 4
    remote.close()


def test_quotes_dollars_and_line_ends_arrive_as_they_are(anyone: Remote) -> None:
    assert anyone.run("""x='a  "b'\nprintf '%s|' "$x" '$HOME' 'two\nlines' '\\t' 'é'""").stdout == (
        """a  "b|$HOME|two\nlines|\\t|é|"""
    )


def test_a_script_that_reads_stdin_gets_nothing_and_not_its_own_text(anyone: Remote) -> None:
    assert anyone.run("cat; echo after") == Result(0, "after\n", "")


def test_a_script_of_a_megabyte_arrives_whole(anyone: Remote) -> None:
    comment = "# " + "x" * 98 + "\n"
    assert anyone.run(comment * 10_000 + "echo end").stdout == "end\n"


def test_megabytes_on_both_streams_are_drained_together(anyone: Remote) -> None:
    result = anyone.run("head -c 4000000 /dev/zero >&2; head -c 5000000 /dev/zero; head -c 4000000 /dev/zero >&2")
    assert (len(result.stdout), len(result.stderr)) == (5_000_000, 8_000_000)


def test_a_script_ended_by_a_signal_has_the_shells_code(anyone: Remote) -> None:
    assert anyone.run("kill -9 $$").code == 128 + 9


def test_changes_hold_the_step_lock_and_give_it_back(anyone: Remote) -> None:
    held = "flock -n /run/overlay-provision/step.lock true || echo held"
    assert anyone.run(held, changes=True).stdout == "held\n"
    assert anyone.run(held).stdout == ""
    assert anyone.run("stat -c %a /run/overlay-provision").stdout == "700\n"


def test_neither_script_nor_password_is_in_an_argument_list_or_environment(anyone: Remote) -> None:
    result = anyone.run("# canary-77\ncat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
    assert "sshd" in result.stdout
    assert "canary" not in result.stdout
    assert SUDO_PASSWORD not in repr(LOGIN)


def test_what_a_login_shell_prints_is_not_the_scripts_output(start: StartSshd) -> None:
    server = start(shell="/bin/bash")
    (server.folder / "home" / ".bashrc").write_text("echo Welcome; echo '[sudo] password for ops: ' >&2; set -x\n")
    remote = connect(server.node(user="ops"), LOGIN)
    assert remote.run("echo out; echo err >&2") == Result(0, "out\n", "err\n")
    remote.close()


def test_a_script_over_its_time_is_ended_on_the_node_too(anyone: Remote) -> None:
    with pytest.raises(StepFailed, match=r"node1: the long wait did not end within 1 s.*waiting for it"):
        anyone.run("echo $$ >/run/pid; echo waiting for it >&2; sleep 1000", timeout=1, what="the long wait")
    await_true(lambda: anyone.run('[ ! -d "/proc/$(cat /run/pid)" ]').code == 0)


def test_a_killed_script_that_ignores_the_wish_is_ended_by_force(anyone: Remote) -> None:
    with pytest.raises(StepFailed):
        anyone.run("trap '' TERM; echo $$ >/run/pid; while :; do sleep 1; done", timeout=1)
    await_true(lambda: anyone.run('[ ! -d "/proc/$(cat /run/pid)" ]').code == 0)


CHILDREN = """
setsid sh -c 'echo $$ >/run/own-session; exec sleep 1000' &
timeout 1000 sh -c 'echo $$ >/run/own-group; exec sleep 1000' &
(trap '' TERM; echo >/run/deaf; sh -c 'echo $$ >/run/deaf; while :; do sleep 1; done') &
sleep 1000
"""


def test_165_a_script_over_its_time_is_ended_with_all_that_it_has_started(anyone: Remote) -> None:
    with pytest.raises(StepFailed, match=r"did not end within 2 s and was stopped$"):
        anyone.run(CHILDREN, timeout=2, guest=True, changes=True)
    living = "cd /run && cat own-session own-group deaf | while read -r pid; do [ ! -d /proc/$pid ] || echo $pid; done"
    await_true(lambda: anyone.run(living).stdout == "")
    assert anyone.run("cd /run && cat own-session own-group deaf | wc -l").stdout.split() == ["3"]


def test_164_a_daemon_that_a_guest_leaves_behind_holds_no_lock_and_lives(anyone: Remote) -> None:
    daemon = "setsid sh -c 'echo $$ >/run/daemon; exec sleep 1000' >/dev/null 2>&1 </dev/null &"
    assert anyone.run(f"{daemon}\nuntil [ -s /run/daemon ]; do :; done", changes=True, guest=True).code == 0
    held = "flock -n /run/overlay-provision/step.lock true || echo held"
    assert anyone.run(f'{held}; [ -d "/proc/$(cat /run/daemon)" ] && echo lives').stdout == "lives\n"
    assert anyone.run("ls -l /proc/$(cat /run/daemon)/fd").stdout.count("overlay-provision") == 0
    anyone.run("kill $(cat /run/daemon)")


def test_164_the_lock_is_held_while_a_guest_runs(anyone: Remote) -> None:
    held = "flock -n /run/overlay-provision/step.lock true || echo held"
    assert anyone.run(held, changes=True, guest=True).stdout == "held\n"


def test_164_a_daemon_that_keeps_the_output_open_is_not_waited_for(anyone: Remote) -> None:
    result = anyone.run("echo before; sleep 1000 & echo $! >/run/daemon; exit 3", timeout=300, guest=True, changes=True)
    assert (result.code, result.stdout) == (3, "before\n")
    assert anyone.run('[ -d "/proc/$(cat /run/daemon)" ] && kill $(cat /run/daemon)').code == 0


def test_a_lost_connection_is_an_error_at_once(server: Sshd, remote: Remote) -> None:
    def cut() -> None:
        await_true(lambda: server.inside("cat /run/pid 2>/dev/null || true") != "")
        server.inside("kill -9 $(cat /run/pid)")

    cutter = threading.Thread(target=cut)
    cutter.start()
    find_sshd = "p=$$; while ! grep -q '^sshd' /proc/$p/cmdline; do p=$(cut -d' ' -f4 /proc/$p/stat); done"
    with pytest.raises(StepFailed, match="node1: the connection was lost during a long step"):
        remote.run(f"{find_sshd}; echo $p >/run/pid; sleep 1000", what="a long step")
    cutter.join()


def test_a_script_cut_short_on_its_way_never_runs(server: Sshd, remote: Remote) -> None:
    script = b"touch /run/evil\n#mark"
    shell = remote.shell("half a script", 10)
    shell.send(run_line("mark", len(script), changes=False).encode() + script[:16])
    shell.end_input()
    with pytest.raises(StepFailed, match="did not start"):
        shell.finish("mark")
    assert "evil" not in server.inside("ls /run")


CONTROLLER = """
import sys, pickle
from provision.remote import connect, Login
node = pickle.loads(bytes.fromhex(sys.argv[1]))
connect(node, Login()).run("echo $$ >/run/new; mv /run/new /run/pid; sleep 1000", changes=True, timeout=1000)
"""


def test_72_the_step_of_a_killed_controller_ends_and_the_next_gets_its_lock(server: Sshd, remote: Remote) -> None:
    import pickle

    node = pickle.dumps(server.node()).hex()
    root = Path(__file__).parents[3]
    controller = subprocess.Popen([sys.executable, "-c", CONTROLLER, node], cwd=root)
    await_true(lambda: server.inside("cat /run/pid 2>/dev/null || true") != "")
    os.kill(controller.pid, signal.SIGKILL)
    controller.wait()
    gone = '[ ! -d "/proc/$(cat /run/pid)" ]'
    assert remote.run(gone, changes=True).code == 0


def test_a_step_waits_for_one_at_work_only_so_long(
    server: Sshd, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "STEP_LOCK_WAIT", 1)
    server.inside("mkdir -p /run/overlay-provision")
    holder = subprocess.Popen(
        ["nsenter", "-t", str(server.process.pid), "-m", "flock", "/run/overlay-provision/step.lock", "cat"],
        stdin=subprocess.PIPE,
    )
    await_true(lambda: remote.run("flock -n /run/overlay-provision/step.lock true").code != 0)
    with pytest.raises(StepFailed, match="a step of an earlier run is still running"):
        remote.run("touch /run/evil", changes=True)
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait()
    assert remote.run("ls /run/evil", changes=True).code != 0
