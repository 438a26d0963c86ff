"""Hosts as people have them: sshd, sudo and login shells that are set up in their own way."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, closing, suppress

import pytest
from remote_sshd import SUDO_PASSWORD, Sshd, StartSshd, await_true, free_port, make_key
from test_remote_login import refusal

from provision.errors import ConnectionFailed, StepFailed
from provision.node import library
from provision.remote import Login, Remotes, Result, connect, scripts

LOGIN = Login(sudo_password=SUDO_PASSWORD)


@pytest.mark.parametrize("user", ["root", "ops"])
@pytest.mark.parametrize("sessions", [1, 2])
def test_97_a_run_lives_with_few_sessions_on_a_connection(start: StartSshd, sessions: int, user: str) -> None:
    node = start(f"MaxSessions {sessions}\n").node(user=user)
    with Remotes.open((node,), LOGIN) as remotes, remotes.lock("a test"):
        (remote,) = remotes
        together = threading.Barrier(3, timeout=60)
        codes: list[int] = []

        def work(number: int) -> None:
            together.wait()
            codes.append(remote.run(f"exit {number}", changes=number == 1).code)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(codes) == [0, 1, 2]
        remote.push(b"text", "/run/pushed")
        assert remote.run("cat /run/pushed").stdout == "text"


def test_97_an_sshd_without_sessions_is_named_with_its_setting(start: StartSshd) -> None:
    problem = refusal(start("MaxSessions 0\n").node())
    assert "MaxSessions" in problem.what
    assert "MaxSessions 10" in problem.advice


def test_97_a_further_connection_that_is_refused_is_named_with_the_setting(start: StartSshd) -> None:
    server = start("MaxSessions 1\n")
    with Remotes.open((server.node(),), Login()) as remotes, remotes.lock("a test"):
        (remote,) = remotes
        (server.folder / "authorized_keys").write_text("")

        def one_more(*, pushing: bool = False) -> None:
            """Use one session more than there are connections. A session that has just ended may have left one more."""
            if pushing:
                remote.push(b"text", "/run/pushed")
            with remote.running("echo here; sleep 1000", timeout=60, what="a test"):
                remote.run("true")

        with pytest.raises(ConnectionFailed, match=r"MaxSessions.*login as root refused"):
            one_more()
        # Once a change was begun, it is no longer true that nothing was touched.
        with pytest.raises(StepFailed, match="MaxSessions"):
            one_more(pushing=True)


@pytest.mark.parametrize(
    ("methods", "more", "wanted"),
    [
        ("publickey,password", "PasswordAuthentication yes", "password"),
        ("publickey,keyboard-interactive", "KbdInteractiveAuthentication yes", "keyboard-interactive"),
    ],
)
def test_98_a_second_authentication_is_named(start: StartSshd, methods: str, more: str, wanted: str) -> None:
    # The first value of a setting counts, and the server of these tests sets these two to no.
    server = start(f"AuthenticationMethods {methods}\n", settings=more)
    problem = refusal(server.node())
    assert problem.what == (
        f"login as root refused: the server accepted {server.key}, and wants {wanted} as well (AuthenticationMethods)"
    )
    assert "AuthenticationMethods publickey" in problem.advice


def test_98_a_server_that_takes_no_keys_is_named(start: StartSshd) -> None:
    problem = refusal(start(settings="PubkeyAuthentication no\nPasswordAuthentication yes").node())
    assert "the server takes no keys, only password (PubkeyAuthentication" in problem.what


def test_98_two_keys_are_given_where_two_are_wanted(start: StartSshd, tmp_path_factory: pytest.TempPathFactory) -> None:
    server = start("AuthenticationMethods publickey,publickey\n")
    second = make_key(tmp_path_factory.mktemp("second") / "key")
    assert "wants publickey as well" in refusal(server.node()).what
    with (server.folder / "authorized_keys").open("a") as file:
        file.write(second.with_suffix(".pub").read_text())
    with closing(connect(server.node(), Login(identities=(second,)))) as remote:
        assert remote.run("id -u").stdout == "0\n"


#: What runs instead of a script, and the words about it.
FORCED = {
    'command="echo hi"': "hi",
    'command="cat"': "it repeats what it is sent",
    'command="true"': "it ended without a message",
    'command="cat >/dev/null"': "it ended without a message",
}


@pytest.mark.parametrize("option", FORCED)
def test_99_a_forced_command_is_named(start: StartSshd, option: str) -> None:
    server = start(settings="PermitRootLogin forced-commands-only\n" if "echo" in option else "")
    keys = server.folder / "authorized_keys"
    keys.write_text(f"{option} {keys.read_text()}")
    problem = refusal(server.node())
    assert problem.what == f"the login as root succeeded, but sh does not run there: {FORCED[option]}"
    assert "command= in ~/.ssh/authorized_keys" in problem.advice


def test_99_a_root_who_may_run_forced_commands_only_and_has_none_is_told_the_setting(start: StartSshd) -> None:
    problem = refusal(start(settings="PermitRootLogin forced-commands-only\n").node())
    assert "PermitRootLogin forced-commands-only" in problem.advice


def test_99_a_forced_command_of_sshds_configuration_is_named(start: StartSshd) -> None:
    problem = refusal(start("ForceCommand echo no shell for you\n").node())
    assert "sh does not run there: no shell for you" in problem.what
    assert "ForceCommand in sshd_config" in problem.advice


def test_99_a_forced_command_that_runs_what_it_is_asked_is_none(server: Sshd) -> None:
    keys = server.folder / "authorized_keys"
    keys.write_text(f'command="exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"" {keys.read_text()}')
    with closing(connect(server.node(), Login())) as remote:
        assert remote.run("id -u").stdout == "0\n"


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false", "/bin/rbash"])
def test_99_a_login_shell_that_runs_no_sh_is_named(start: StartSshd, shell: str) -> None:
    problem = refusal(start(shell=shell).node(user="ops"), LOGIN)
    assert problem.what.startswith("the login as ops succeeded, but sh does not run there: ")
    assert "getent passwd ops" in problem.advice


@pytest.mark.parametrize("line", ["exec cat", "exit 0", "read answer", "exec sleep 1000"])
@pytest.mark.parametrize("user", ["root", "ops"])
def test_99_a_start_up_file_that_lets_no_sh_run_is_named(
    start: StartSshd, line: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provision.remote.shell.SUDO_TIMEOUT", 3.0)
    monkeypatch.setattr("provision.remote.remote.SUDO_TIMEOUT", 3.0)
    server = start(shell="/bin/bash", root_shell="/bin/bash")
    for home in ("home", "roothome"):
        (server.folder / home / ".bashrc").write_text(f"{line}\n")
    problem = refusal(server.node(user=user), LOGIN)
    assert f"the login as {user} succeeded, but sh does not run there: " in problem.what
    assert "~/.bashrc" in problem.advice


#: Rules of sudo, and what is named.
SUDOERS = {
    "Defaults requiretty": ("requiretty", "Defaults:ops !requiretty"),
    "Defaults targetpw": ("password of root, not of ops (targetpw", "!targetpw"),
    "Defaults rootpw": ("password of root, not of ops (targetpw, rootpw", "!rootpw"),
    "Defaults runas_default=ops": ("scripts run as user 4711 there, not as root", "runas_default=root"),
    "Defaults noexec": ("sh runs no programs as root: ", "!noexec"),
}


@pytest.mark.parametrize("rule", SUDOERS)
def test_175_a_rule_of_sudo_that_lets_no_script_run_is_named_with_its_remedy(start: StartSshd, rule: str) -> None:
    what, advice = SUDOERS[rule]
    problem = refusal(start(sudoers=f"{rule}\nops ALL=(ALL:ALL) ALL\n").node(user="ops"), LOGIN)
    assert what in problem.what
    assert advice in problem.advice


def test_175_the_password_of_root_is_taken_where_sudo_asks_for_it(start: StartSshd) -> None:
    server = start(sudoers="Defaults rootpw\nops ALL=(ALL:ALL) ALL\n", root_has_password=True)
    with closing(connect(server.node(user="ops"), LOGIN)) as remote:
        assert remote.run("id -u").stdout == "0\n"


def test_175_a_host_without_sudo_is_named(start: StartSshd) -> None:
    server = start(namespace="for each in $(ls /usr/bin/sudo /bin/sudo); do mount --bind /dev/null $each; done")
    assert "sudo: Permission denied" in refusal(server.node(user="ops"), LOGIN).what


#: What a login file may set. Nothing of it reaches a script.
ALIEN = {
    "DOCKER_HOST": "tcp://192.0.2.1:1",
    "DOCKER_TLS_VERIFY": "1",
    "DOCKER_CONTEXT": "other",
    "ETCDCTL_API": "9",
    "http_proxy": "http://192.0.2.1:1",
    "GREP_OPTIONS": "-v",
    "LC_ALL": "tr_TR.UTF-8",
    "POSIXLY_CORRECT": "1",
    "BLOCKSIZE": "1G",
    "IFS": "0",
    "PATH": "/nowhere",
    "ENV": "/nowhere",
    "LD_PRELOAD": "/nowhere.so",
    "BASH_ENV": "/nowhere",
}
OURS = {"HOME", "LC_ALL", "PATH", "PWD", scripts.MARK}


@pytest.mark.parametrize("sudoers", ["Defaults env_reset", "Defaults !env_reset", 'Defaults env_keep += "*"'])
@pytest.mark.parametrize("user", ["root", "ops"])
def test_104_the_environment_of_a_script_is_ours(start: StartSshd, user: str, sudoers: str) -> None:
    text = " ".join(f"{name}={value}" for name, value in ALIEN.items())
    rules = f"{sudoers}\nDefaults !secure_path\nops ALL=(ALL:ALL) NOPASSWD: ALL\n"
    server = start(f"SetEnv {text}\n", sudoers=rules, shell="/bin/bash", root_shell="/bin/bash")
    for home in ("home", "roothome"):
        (server.folder / home / ".bashrc").write_text(
            "export EXTRA=1 GREP_COLORS=x\numask 077\ngrep() { echo lie; }\nexport -f grep\n"
        )
    with closing(connect(server.node(user=user), LOGIN)) as remote:
        lines = remote.run("env").stdout.splitlines()
        found = dict(line.split("=", 1) for line in lines)
        assert set(found) - {"_", "SHLVL", "OLDPWD"} == OURS
        assert (found["LC_ALL"], found["HOME"]) == ("C", "/root")
        assert remote.run("umask; echo a0b | grep -c a").stdout == "0022\n1\n"
        remote.push(b"text", "/run/pushed", mode=0o640)
        assert remote.run("stat -c %a /run/pushed").stdout == "640\n"
    with Remotes.open((server.node(user=user),), LOGIN) as remotes, remotes.lock("a test"):
        assert remotes.living() == {remotes.run}


TRIAL = "/run/overlay-provision.ports.trial"


@pytest.mark.parametrize("user", ["root", "ops"])
@pytest.mark.parametrize("how", ["ended", "failed", "cut"])
def test_174_listeners_end_with_their_run(server: Sshd, user: str, how: str) -> None:
    tcp, udp = free_port(), free_port()
    script = f"{library('ports')}\nports_listen {TRIAL} 127.0.0.1 600 {tcp}/tcp {udp}/udp\n"
    look = f"ss -Hlntu '( sport = :{tcp} or sport = :{udp} )' | wc -l; ls -d {TRIAL} 2>/dev/null || echo gone"
    with closing(connect(server.node(), Login())) as watcher:
        remote = connect(server.node(user=user), LOGIN)
        with suppress(ValueError), remote.running(script, timeout=600, what="listening"):
            assert watcher.run(look).stdout == f"2\n{TRIAL}\n"
            # What listens for a trial is no obstacle to another run.
            asked = watcher.run(f"{library('facts')}\nfact_ports {tcp} {udp}")
            assert asked == Result(0, "", "")
            if how == "failed":
                raise ValueError
            if how == "cut":
                remote.close()
        await_true(lambda: watcher.run(look).stdout == "0\ngone\n")
        remote.close()


@pytest.mark.parametrize("others", [1, 2])
def test_344_a_port_that_another_process_got_first_is_told_also_where_none_is_left(server: Sshd, others: int) -> None:
    """etcd, which systemd starts again, gets all of its ports after the node was asked which ones are in use."""
    ports = (free_port(), free_port())
    with ExitStack() as held:
        for port in ports[:others]:
            held.enter_context(socket.create_server(("127.0.0.1", port)))
        remote = held.enter_context(closing(connect(server.node(), LOGIN)))
        script = f"{library('ports')}\nports_listen {TRIAL} 127.0.0.1 600 {ports[0]}/tcp {ports[1]}/tcp\n"
        with remote.running(script, timeout=600, what="listening"):
            heard = f"{library('ports')}\nports_heard {TRIAL} run 2 1\n"
            ended = f"grep -c 'Failed to open' {TRIAL}/log; pgrep -cf '^timeout .* 127.0.0.1:({ports[0]}|{ports[1]}) '"
            await_true(lambda: remote.run(ended).stdout == f"{others}\n{2 - others}\n")
            assert remote.run(heard).stdout == "".join(f"taken {port}-tcp\n" for port in ports[:others])
        gone = remote.run(heard)
        assert gone.code == 1
        assert gone.stderr.endswith(f"nobody listens any more: {TRIAL} is gone\n")


def test_174_listeners_that_cannot_listen_are_told_and_end(server: Sshd) -> None:
    script = f"{library('ports')}\nports_listen {TRIAL} 192.0.2.1 600 {free_port()}/tcp\n"
    script = f"sleep() {{ :; }}\n{script}"
    with closing(connect(server.node(), Login())) as remote:
        with (
            pytest.raises(StepFailed, match=r"(?s)listening: .*cannot listen on 192\.0\.2\.1"),
            remote.running(script, timeout=60, what="listening"),
        ):
            pass
        await_true(lambda: remote.run(f"ls -d {TRIAL}").code != 0)
